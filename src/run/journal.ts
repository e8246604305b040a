/** Append-only JSONL files: the records of a round are on disk when an append returns, and taken out when it fails. */
import { open, type FileHandle } from 'node:fs/promises';
import { FltacError, messageOf } from '../errors.js';

export type JsonValue = number | string | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonRecord = { readonly [key: string]: JsonValue };

/** One JSONL file that grows by whole groups of records. */
export class Journal {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Adds the records and flushes them. When that fails, the file is cut back to the size it had, so that no part of the
   * group stays; only a process that dies within the append can leave a part.
   *
   * @throws FltacError NON_FINITE for a number that JSON cannot say, before the file is opened; IO when the file cannot
   *   be written, saying so where it could not be cut back either
   */
  async append(records: readonly JsonRecord[]): Promise<void> {
    if (records.length === 0) return;
    const text = records.map(toLine).join('');
    try {
      const file = await open(this.path, 'a');
      try {
        await appendOrNothing(file, text);
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw new FltacError('IO', `${this.path} cannot be written: ${messageOf(cause)}`, { cause });
    }
  }
}

async function appendOrNothing(file: FileHandle, text: string): Promise<void> {
  const { size } = await file.stat();
  try {
    await file.appendFile(text, 'utf8');
    await file.sync();
  } catch (cause) {
    await file.truncate(size).catch((error: unknown) => {
      const left = `it may hold a part of the records after byte ${size}, and cannot be cut back`;
      throw new Error(`${messageOf(cause)}; ${left} (${messageOf(error)})`, { cause });
    });
    throw cause;
  }
}

/** A record as a line of JSONL, with its end. @throws FltacError NON_FINITE */
export function toLine(record: JsonRecord): string {
  const text = JSON.stringify(record, (key, value: unknown) => {
    if (typeof value !== 'number' || Number.isFinite(value)) return value;
    throw new FltacError('NON_FINITE', `${key === '' ? 'a value' : key} is ${value} and cannot be recorded as JSON`);
  });
  return `${text}\n`;
}
