/** Append-only JSONL files: the records of a round go in with one write and are on disk when it returns. */
import { open } from 'node:fs/promises';
import { FltacError } from '../errors.js';
import { messageOf } from './files.js';

export type JsonValue = number | string | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonRecord = { readonly [key: string]: JsonValue };

/** One JSONL file that grows by whole groups of records. */
export class Journal {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * @throws FltacError NON_FINITE for a number that JSON cannot say, IO when the file cannot be written; nothing is
   *   written in the first case
   */
  async append(records: readonly JsonRecord[]): Promise<void> {
    if (records.length === 0) return;
    const text = records.map((record) => `${toLine(record)}\n`).join('');
    try {
      const file = await open(this.path, 'a');
      try {
        await file.appendFile(text, 'utf8');
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw new FltacError('IO', `${this.path} cannot be written: ${messageOf(cause)}`, { cause });
    }
  }
}

function toLine(record: JsonRecord): string {
  return JSON.stringify(record, (key, value: unknown) => {
    if (typeof value !== 'number' || Number.isFinite(value)) return value;
    throw new FltacError('NON_FINITE', `${key === '' ? 'a value' : key} is ${value} and cannot be recorded as JSON`);
  });
}
