/** Whole files or none: their content is written beside its place, flushed, and renamed. */
import { mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { FltacError, messageOf } from '../errors.js';

let places = 0;

/** A name beside the path that nobody else writes to at the same time, in this process or another. */
function placeBeside(path: string): string {
  places += 1;
  return `${path}.tmp-${process.pid}${String(places).padStart(6, '0')}`;
}

/** What the system said, without the name of the file beside, which is nobody's business. */
function cannotWrite(path: string, beside: string, cause: unknown): FltacError {
  const said = messageOf(cause);
  const reason = said.includes(beside) ? said.replace(/, \w+ '[^]*$/, '') : said;
  return new FltacError('IO', `${path} cannot be written: ${reason}`, { cause });
}

/** @throws FltacError IO naming the path */
export function writeTextFile(path: string, text: string): Promise<void> {
  return writeWholeFile(path, Buffer.from(text, 'utf8'));
}

/** @throws FltacError IO naming the path */
export async function writeWholeFile(path: string, bytes: Uint8Array): Promise<void> {
  const beside = placeBeside(path);
  try {
    const file = await open(beside, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw cannotWrite(path, beside, cause);
  }
}

/** Flushes a folder's entries, so that a rename in it outlasts a loss of power. File systems that cannot do it are let be. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** @throws FltacError IO; FORMAT for text that is not JSON */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FltacError('FORMAT', `${path} is not JSON: ${messageOf(cause)}`, { cause });
  }
}

/** Indented JSON with a final newline. */
export function writeJsonFile(path: string, value: unknown): Promise<void> {
  return writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Makes a folder and the parents it lacks, one by one: Node's own recursive mkdir never returns under /proc.
 *
 * @returns the folders that were made, outermost first
 * @throws Error for a path that is a file or lies below one; the system's error for a folder that cannot be made
 */
export async function makeFolders(folder: string): Promise<string[]> {
  const absent: string[] = [];
  for (let at = resolve(folder); !(await isFolder(at)); at = dirname(at)) absent.unshift(at);
  const made: string[] = [];
  try {
    for (const path of absent) if (await makeFolder(path)) made.push(path);
  } catch (error) {
    await removeEmptyFolders(made);
    throw error;
  }
  return made;
}

/** Removes those of the folders, given outermost first, that nothing was written to. */
export async function removeEmptyFolders(folders: readonly string[]): Promise<void> {
  // It fails for a folder with files in it, which is what is wanted.
  for (const folder of [...folders].reverse()) await rmdir(folder).catch(() => undefined);
}

/** False for a folder that is absent, or cannot be there because a parent is a file. */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
  throw new Error(`${path} is a file`);
}

/** Whether this call made it, and not another process in the same moment. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Proves, before long work, that a file can be written at a path, making its folder where it is absent.
 *
 * @returns the folders that were made, outermost first
 * @throws FltacError IO naming the path, for a folder too
 */
export async function assertWritable(path: string): Promise<string[]> {
  const found = await stat(resolve(path)).catch(() => undefined);
  if (found?.isDirectory() === true) {
    throw new FltacError('IO', `${path} cannot be written: it is a folder, expected the name of a file`);
  }
  const beside = placeBeside(path);
  try {
    const made = await makeFolders(dirname(path));
    await (await open(beside, 'w')).close();
    await rm(beside);
    return made;
  } catch (cause) {
    throw cannotWrite(path, beside, cause);
  }
}
