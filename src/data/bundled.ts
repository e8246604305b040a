/**
 * What comes with the package in quickstart/: manifest.json, model/ and data/<task>/{train,validation}.jsonl
 * (made by scripts/quickstart/make.py).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { FltacError } from '../errors.js';

const Split = z.object({ rows: z.int().min(1) });
const Manifest = z.object({
  tasks: z.array(
    z.object({
      name: z.string(),
      num_labels: z.int().min(2),
      splits: z.object({ train: Split, validation: Split }),
    }),
  ),
});

export interface BundledTask {
  name: string;
  numLabels: number;
  trainRows: number;
}

/** The bundled folder; src/data and dist/data lie equally deep below the package. */
export function quickstartFolder(): string {
  return fileURLToPath(new URL('../../quickstart/', import.meta.url));
}

/** The bundled tasks in listed order, by the manifest. @throws IO where it is missing, FORMAT where it is broken */
export function bundledTasks(folder = quickstartFolder()): BundledTask[] {
  const path = join(folder, 'manifest.json');
  const manifest = Manifest.safeParse(readJson(path));
  if (!manifest.success)
    throw new FltacError(
      'FORMAT',
      `${path}: ${z.prettifyError(manifest.error).replaceAll('\n', ' ')}: install fltac again`,
    );
  return manifest.data.tasks.map((task) => ({
    name: task.name,
    numLabels: task.num_labels,
    trainRows: task.splits.train.rows,
  }));
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const code = error instanceof SyntaxError ? 'FORMAT' : 'IO';
    throw new FltacError(code, `${path} cannot be read (${String(error)}): install fltac again`, { cause: error });
  }
}
