/** manifest.json: the size and digest of every file that a finished run leaves, and what the run proved at its end. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { digestOfFile } from './digest.js';
import { writeJsonFile } from './files.js';
import { RUN_FILES } from './folder.js';
import type { ReloadProof } from './proof.js';

/** What it lists; what can be made again (report, answers, checkpoint) or is another run's (a baseline) stays out. */
const LISTED = [
  /^(config\.yaml|partition\.json|environment\.json|metrics\.jsonl|cluster_assignments\.jsonl|geometry\.jsonl)$/,
  /^initial_adapter\.safetensors$/,
  /^(adapters_round_\d+\.pt|submissions_round_\d+\.safetensors)$/,
  /^final\/.+\/(adapter_)?(config\.json|model\.safetensors)$/,
];

export interface ManifestEntry {
  bytes: number;
  sha256: string;
}

export interface Manifest {
  reload: ReloadProof;
  /** by path below the run's folder, with `/` */
  files: Readonly<Record<string, ManifestEntry>>;
}

/** Paths of a run's files below its folder, with `/`, in order. */
export async function listedFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .filter((name) => LISTED.some((pattern) => pattern.test(name)))
    .sort();
}

export async function entryOf(file: string): Promise<ManifestEntry> {
  return { bytes: (await stat(file)).size, sha256: await digestOfFile(file) };
}

/** @throws FltacError IO */
export async function writeManifest(folder: string, reload: ReloadProof): Promise<void> {
  const files: Record<string, ManifestEntry> = {};
  for (const name of await listedFiles(folder)) files[name] = await entryOf(path.join(folder, name));
  await writeJsonFile(path.join(folder, RUN_FILES.manifest), { reload, files });
}
