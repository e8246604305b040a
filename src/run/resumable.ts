/**
 * A JSONL file that is made over several calls: records are appended as they come, a later call reads what is there and
 * adds what is missing. Beside it lies `<file>.settings.json` with the settings that its records were made with, so that
 * records of different settings never mix.
 */
import { readFile, rm, truncate } from 'node:fs/promises';
import { z } from 'zod';
import { withLock } from '../data/hub/lock.js';
import { FltacError, messageOf } from '../errors.js';
import { assertWritable, writeJsonFile, writeTextFile } from './files.js';
import { Journal, toLine, type JsonRecord } from './journal.js';
import type { Log } from './log.js';

/** What records depend on, in words that a person can compare. */
export type Settings = Readonly<Record<string, string | number | null>>;

export interface ResumableOptions<T extends JsonRecord> {
  /** absolute path; its folder is made */
  path: string;
  settings: Settings;
  /** what the file holds, for messages: "answers" */
  what: string;
  /** starts anew, whatever is there; the earlier file stays until the first new records take its place */
  overwrite: boolean;
  /** what a record looks like */
  schema: z.ZodType<T>;
  log: Log;
}

export class ResumableFile<T extends JsonRecord> {
  readonly #journal: Journal;
  /** appends wait for one another */
  #last: Promise<void> = Promise.resolve();
  /** settings of records that are yet to replace a file that is there */
  #replacing: Settings | undefined;

  private constructor(
    readonly path: string,
    /** records of earlier calls */
    readonly earlier: readonly T[],
    replacing?: Settings,
  ) {
    this.#journal = new Journal(path);
    this.#replacing = replacing;
  }

  /**
   * Opens the file, or begins it. A last line that was cut off in the middle of a write is removed, and the log says so.
   *
   * @throws FltacError IO; USAGE for a file of other settings (naming them) or without known settings; FORMAT naming a
   *   line that is no record
   */
  static async open<T extends JsonRecord>(options: ResumableOptions<T>): Promise<ResumableFile<T>> {
    const { path, settings, overwrite } = options;
    await assertWritable(path);
    if (overwrite) return new ResumableFile<T>(path, [], settings);
    const lines = await readLines(options);
    if (lines.length > 0) {
      await assertSameSettings(options);
      return new ResumableFile(path, lines.map(parserOf(options)));
    }
    await writeJsonFile(settingsPath(path), settings);
    return new ResumableFile<T>(path, []);
  }

  /** Adds records; they are on disk when this returns. Calls may overlap. @throws FltacError IO */
  async append(records: readonly T[]): Promise<void> {
    const written = this.#last.then(() => this.#write(records));
    this.#last = written.catch(() => undefined);
    await written;
  }

  async #write(records: readonly T[]): Promise<void> {
    if (this.#replacing === undefined) return this.#journal.append(records);
    // Without settings the records that are there would be refused: whatever is cut short here, none are mixed.
    await rm(settingsPath(this.path), { force: true });
    await writeTextFile(this.path, records.map(toLine).join(''));
    await writeJsonFile(settingsPath(this.path), this.#replacing);
    this.#replacing = undefined;
  }
}

/**
 * Opens a file for `work` alone: another fltac that works on it is waited for.
 *
 * @throws FltacError as `ResumableFile.open`; ABORTED while waiting; what `work` throws
 */
export async function withResumableFile<T extends JsonRecord, R>(
  options: ResumableOptions<T> & { signal: AbortSignal },
  work: (file: ResumableFile<T>) => Promise<R>,
): Promise<R> {
  const { path, log, signal } = options;
  await assertWritable(path);
  const onWait = () => log.info(`another fltac is writing ${path}: waiting for it`);
  return withLock(`${path}.lock`, { signal, onWait }, async () => work(await ResumableFile.open(options)));
}

function settingsPath(path: string): string {
  return `${path}.settings.json`;
}

/** The whole lines of the file; what follows the last newline is cut off the file. */
async function readLines({ path, log, what }: Pick<ResumableOptions<JsonRecord>, 'path' | 'log' | 'what'>) {
  const bytes = await readFile(path).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw new FltacError('IO', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  });
  const whole = bytes.lastIndexOf('\n') + 1;
  if (whole < bytes.length) {
    log.warn(`${path} ends in the middle of a line, as after a crash: that line is removed and its ${what} made again`);
    await truncate(path, whole).catch((cause: unknown) => {
      throw new FltacError('IO', `${path} cannot be written: ${messageOf(cause)}`, { cause });
    });
  }
  return bytes.toString('utf8', 0, whole).split('\n').slice(0, -1);
}

async function assertSameSettings({
  path,
  settings,
  what,
}: Pick<ResumableOptions<JsonRecord>, 'path' | 'settings' | 'what'>): Promise<void> {
  const instead = 'choose another --output, or give --overwrite to make it anew';
  let found: Record<string, unknown>;
  try {
    found = JSON.parse(await readFile(settingsPath(path), 'utf8')) as Record<string, unknown>;
  } catch (cause) {
    throw new FltacError(
      'USAGE',
      `${path} exists, but ${settingsPath(path)}, which tells how its ${what} were made, cannot be read ` +
        `(${messageOf(cause)}): ${instead}`,
      { cause },
    );
  }
  const names = [...new Set([...Object.keys(found), ...Object.keys(settings)])];
  const differences = names.filter((name) => found[name] !== settings[name]);
  if (differences.length === 0) return;
  const shown = differences.map(
    (name) => `  ${name}: ${JSON.stringify(found[name] ?? null)} there, ${JSON.stringify(settings[name] ?? null)} now`,
  );
  throw new FltacError('USAGE', `${path} holds ${what} of other settings:\n${shown.join('\n')}\n${instead}`);
}

function parserOf<T extends JsonRecord>({ path, schema, what }: ResumableOptions<T>): (line: string, i: number) => T {
  return (line, i) => {
    const place = `${path}:${i + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new FltacError('FORMAT', `${place}: expected a JSON object (${String(cause)})`, { cause });
    }
    const record = schema.safeParse(value);
    if (record.success) return record.data;
    const faults = z.prettifyError(record.error).replaceAll(/\s*\n\s*/g, ' ');
    throw new FltacError('FORMAT', `${place}: expected a record of ${what}: ${faults}`);
  };
}
