/** Whole files or none: text is written beside its place, flushed, and renamed. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FltacError, messageOf } from '../errors.js';

let places = 0;

/** A name beside the path that nobody else writes to at the same time, in this process or another. */
function placeBeside(path: string): string {
  places += 1;
  return `${path}.tmp-${process.pid}${String(places).padStart(6, '0')}`;
}

/** @throws FltacError IO naming the path */
export async function writeTextFile(path: string, text: string): Promise<void> {
  const beside = placeBeside(path);
  try {
    const file = await open(beside, 'w');
    try {
      await file.writeFile(text, 'utf8');
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw new FltacError('IO', `${path} cannot be written: ${messageOf(cause)}`, { cause });
  }
}

/** Indented JSON with a final newline. */
export function writeJsonFile(path: string, value: unknown): Promise<void> {
  return writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Proves, before long work, that a file can be written at a path, making its folder where it is absent.
 *
 * @throws FltacError IO naming the path
 */
export async function assertWritable(path: string): Promise<void> {
  const beside = placeBeside(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await (await open(beside, 'w')).close();
    await rm(beside);
  } catch (cause) {
    throw new FltacError('IO', `${path} cannot be written: ${messageOf(cause)}`, { cause });
  }
}
