/** A run's folder: made before any work, never mixed with another run, and never emptied of what fltac did not write. */
import { mkdir, readFile, readdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { FltacError } from '../errors.js';
import { assertWritable, messageOf } from './files.js';

/** What fltac writes into a run's folder; `overwrite` deletes these names and no others. */
const OWN_NAMES = [
  /^(metrics|cluster_assignments)\.jsonl$/,
  /^adapters_round_\d+\.pt$/,
  /^config\.yaml$/,
  /^(partition|environment)\.json$/,
  /^report\.html$/,
  /^final$/,
  /^checkpoint$/,
  /^baseline_[a-z]+$/,
];

/** Left by a write that was cut off. */
const LEFTOVER = /\.tmp-\d+$/;

/** Names of a run folder's files. */
export const RUN_FILES = {
  metrics: 'metrics.jsonl',
  assignments: 'cluster_assignments.jsonl',
  config: 'config.yaml',
  partition: 'partition.json',
  environment: 'environment.json',
  final: 'final',
} as const;

/**
 * Makes the folder of a new run, with its parents, and proves that it can be written.
 *
 * @param overwrite deletes an earlier run's files in it; otherwise a folder that is not empty is refused
 * @returns the absolute path
 * @throws FltacError USAGE for a folder that is not empty, or (with `overwrite`) is not a run of fltac; IO for a path
 *   that cannot be made or written
 */
export async function prepareRunFolder(folder: string, overwrite: boolean): Promise<string> {
  const absolute = path.resolve(folder);
  let names: string[];
  try {
    await mkdir(absolute, { recursive: true });
    names = await readdir(absolute);
  } catch (cause) {
    throw unwritable(absolute, cause);
  }
  if (names.length > 0) await emptyRunFolder(absolute, names, overwrite);
  try {
    await assertWritable(path.join(absolute, RUN_FILES.environment));
  } catch (cause) {
    throw unwritable(absolute, cause);
  }
  return absolute;
}

/** Removes a run folder that nothing was written to, so that a run which failed at its start leaves nothing. */
export async function removeIfEmpty(folder: string): Promise<void> {
  // It fails for a folder with files in it, which is what is wanted.
  await rmdir(folder).catch(() => undefined);
}

async function emptyRunFolder(folder: string, names: readonly string[], overwrite: boolean): Promise<void> {
  const shown = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
  if (!overwrite) {
    throw new FltacError(
      'USAGE',
      `the output folder ${folder} is not empty (${shown}): choose another output_dir, or give --overwrite to replace the run in it`,
    );
  }
  if (!(await isRunFolder(folder))) {
    throw new FltacError(
      'USAGE',
      `the output folder ${folder} holds ${shown}, which is no run of fltac: it is not overwritten; choose another output_dir`,
    );
  }
  const own = names.filter((name) => LEFTOVER.test(name) || OWN_NAMES.some((pattern) => pattern.test(name)));
  try {
    // The environment record is what marks a run's folder: it goes last.
    for (const name of own.filter((name) => name !== RUN_FILES.environment)) {
      await rm(path.join(folder, name), { recursive: true });
    }
    await rm(path.join(folder, RUN_FILES.environment));
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

/** Whether a folder was written by fltac: its environment record says so. */
async function isRunFolder(folder: string): Promise<boolean> {
  try {
    const record: unknown = JSON.parse(await readFile(path.join(folder, RUN_FILES.environment), 'utf8'));
    return typeof record === 'object' && record !== null && 'fltac' in record;
  } catch {
    // Absent or not JSON: whatever it is, it is not ours to empty.
    return false;
  }
}

function unwritable(folder: string, cause: unknown): FltacError {
  const message = messageOf(cause);
  return new FltacError(
    'IO',
    `the output folder ${folder} cannot be written (${message}): choose another output_dir or change its permissions`,
    { cause },
  );
}
