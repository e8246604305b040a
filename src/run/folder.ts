/**
 * A run's folder: made before any work, never mixed with another run, and never emptied of what fltac did not write. An
 * earlier run in it stays until the new one has begun.
 */
import { readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { isHeld, withLock } from '../data/hub/lock.js';
import { FltacError, messageOf } from '../errors.js';
import { assertWritable, makeFolders, removeEmptyFolders } from './files.js';

/** What fltac writes into a run's folder; `overwrite` deletes these names and no others. */
const OWN_NAMES = [
  /^(metrics|cluster_assignments|geometry)\.jsonl$/,
  /^adapters_round_\d+\.pt$/,
  /^config\.yaml$/,
  /^(partition|environment|manifest)\.json$/,
  /^initial_adapter\.safetensors$/,
  /^submissions_round_\d+\.safetensors$/,
  /^report\.html$/,
  /^final$/,
  /^(exported|tensorboard)$/,
  /^checkpoint$/,
  /^baseline_[a-z]+$/,
  /^answers_round_\d+(\.scores)?\.jsonl(\.settings\.json|\.lock)?$/,
];

/** Left by a write that was cut off. */
const LEFTOVER = /\.tmp-\d+$/;

/** There while a run works in the folder. */
const LOCK = 'run.lock';

/** A lock of another machine counts as left behind after this long; one of this machine as soon as its process is gone. */
const LOCK_STALE_MS = 600_000;

/** Names of a run folder's files. */
export const RUN_FILES = {
  metrics: 'metrics.jsonl',
  assignments: 'cluster_assignments.jsonl',
  geometry: 'geometry.jsonl',
  config: 'config.yaml',
  partition: 'partition.json',
  environment: 'environment.json',
  initial: 'initial_adapter.safetensors',
  final: 'final',
  checkpoint: 'checkpoint',
  manifest: 'manifest.json',
} as const;

/** What to do with a run that is in the folder already: refuse the new one, replace it, or go on with it. */
export type Existing = 'refuse' | 'replace' | 'continue';

/**
 * Prepares the folder of a new run and does its work while no other run may use the folder. Of the folders made for it,
 * those that stay empty are removed at the end.
 *
 * @param existing as for `prepareRunFolder`
 * @param work takes the absolute path
 * @throws FltacError USAGE where another run works in the folder; as `prepareRunFolder`; what `work` throws
 */
export async function withRunFolder<T>(
  folder: string,
  existing: Existing,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const absolute = path.resolve(folder);
  const made = await makeFolders(absolute).catch((cause: unknown) => {
    throw unwritable(absolute, cause);
  });
  const held = { lock: false };
  try {
    const options = { staleMs: LOCK_STALE_MS, onWait: () => refuseSecond(absolute) };
    return await withLock(path.join(absolute, LOCK), options, async () => {
      held.lock = true;
      return work(await prepareRunFolder(absolute, existing));
    });
  } catch (error) {
    if (held.lock || (error instanceof FltacError && error.code === 'USAGE')) throw error;
    throw unwritable(absolute, error instanceof FltacError ? error.cause : error);
  } finally {
    await removeEmptyFolders(made);
  }
}

/** Whether a run is working in a folder now; the lock that a killed run left does not count. */
export function isRunning(folder: string): Promise<boolean> {
  return isHeld(path.join(folder, LOCK), LOCK_STALE_MS);
}

function refuseSecond(folder: string): never {
  throw new FltacError(
    'USAGE',
    `another run is working in the output folder ${folder}: choose another output_dir, or wait until that run has ended`,
  );
}

/**
 * Makes the folder of a new run, with its parents, and proves that it can be written. Nothing in it is deleted.
 *
 * @param existing `replace` accepts an earlier run in it, for `clearRunFolder`, and `continue` to go on with it;
 *   otherwise a folder that is not empty is refused
 * @returns the absolute path
 * @throws FltacError USAGE for a folder that is not empty, or not a run of fltac where one is accepted; IO for a path
 *   that cannot be made or written
 */
export async function prepareRunFolder(folder: string, existing: Existing): Promise<string> {
  const absolute = path.resolve(folder);
  let names: string[];
  try {
    await makeFolders(absolute);
    names = (await readdir(absolute)).filter((name) => name !== LOCK && !LEFTOVER.test(name));
  } catch (cause) {
    throw unwritable(absolute, cause);
  }
  if (names.length > 0) await assertAcceptable(absolute, names, existing);
  try {
    await assertWritable(path.join(absolute, RUN_FILES.environment));
  } catch (cause) {
    throw unwritable(absolute, cause);
  }
  return absolute;
}

/**
 * Deletes the earlier run's files in a folder that `prepareRunFolder` accepted; what fltac did not write stays.
 *
 * @throws FltacError IO for a file that cannot be deleted
 */
export async function clearRunFolder(folder: string): Promise<void> {
  try {
    const names = await readdir(folder);
    const own = names.filter((name) => LEFTOVER.test(name) || OWN_NAMES.some((pattern) => pattern.test(name)));
    // The environment record is what marks a run's folder: it goes last.
    const last = (name: string) => Number(name === RUN_FILES.environment);
    for (const name of own.sort((a, b) => last(a) - last(b))) await rm(path.join(folder, name), { recursive: true });
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

/**
 * Removes what writes that were cut off left in a run's folder and the folders that a run makes in it.
 *
 * @throws FltacError IO
 */
export async function removeLeftovers(folder: string): Promise<void> {
  try {
    const own = [folder, path.join(folder, RUN_FILES.final), path.join(folder, RUN_FILES.checkpoint)];
    const entries = await Promise.all(own.map((at) => readdir(at, { recursive: at !== folder }).catch(ignoreAbsent)));
    for (const [i, names] of entries.entries()) {
      for (const name of names) if (LEFTOVER.test(name)) await rm(path.join(own[i]!, name), { force: true });
    }
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

function ignoreAbsent(error: unknown): string[] {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
  throw error;
}

async function assertAcceptable(folder: string, names: readonly string[], existing: Existing): Promise<void> {
  const shown = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
  if (existing === 'refuse') {
    throw new FltacError(
      'USAGE',
      `the output folder ${folder} is not empty (${shown}): choose another output_dir, or give --resume to go on with ` +
        'the run in it or --overwrite to replace it',
    );
  }
  if (!(await isRunFolder(folder))) {
    const not = existing === 'replace' ? 'it is not overwritten' : 'there is nothing to resume';
    throw new FltacError(
      'USAGE',
      `the output folder ${folder} holds ${shown}, which is no run of fltac: ${not}; choose another output_dir`,
    );
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
