/**
 * Token sequences on disk, so that a second start does not tokenise what the first did:
 *   <cache_dir>/fltac-tokens/<key>/<name>.tokens
 * The key is a hash of all that the tokens depend on. A folder holds parts, each with rows that were tokenised together;
 * a part is written beside its name and renamed, ends in the hash of what stands before it, and never changes. So runs
 * may share a folder, and a broken part is found, removed and its rows tokenised again.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { messageOf } from '../errors.js';
import type { Log } from '../run/log.js';
import { cacheFolder } from './hub/settings.js';

const FOLDER = 'fltac-tokens';
const ENDING = '.tokens';
const KEY = /^[0-9a-f]{32}$/;
/** To be raised when this code would tokenise a row otherwise, or lays a part out otherwise. */
const VERSION = 1;
const MAGIC = 0x544c_4654;
/** magic, version, rows, tokens, bytes of an id, whether there are marks; as the machine's own 32-bit numbers */
const HEADER = 6;
const HASH_BYTES = 32;
/** Parts of a folder before all of it is written as one. */
const MOST_PARTS = 12;
/** Bytes of all folders; of more, those used longest ago are removed. GLUE's five tasks take about 80 MB. */
const MOST_BYTES = 2 ** 31;

/** Rows with their tokens; row i has lengths[i] of the ids and marks, one row after another. */
export interface TokenPart {
  rows: Int32Array;
  lengths: Int32Array;
  ids: Int32Array;
  /** one a token, or none at all */
  marks: Uint8Array;
}

/** Where tokens are kept; made once a run. */
export class TokenCache {
  readonly #folder: string;
  readonly #log: Log;
  #told = false;
  #pruned: Promise<void> | undefined;

  /** @param cacheDir absolute; `fltac-tokens` is made in it when there is something to keep */
  constructor(cacheDir: string, log: Log) {
    this.#folder = join(cacheDir, FOLDER);
    this.#log = log;
  }

  /**
   * The store of the rows that `parts` name: hashes of texts and tokenizer, lengths, and the like.
   * @param limits what a part's rows can be; others are taken as broken
   */
  async open(parts: readonly (string | number | boolean)[], limits: PartLimits): Promise<TokenStore> {
    await (this.#pruned ??= prune(this.#folder));
    const text = JSON.stringify([VERSION, tokenizersVersion(), ...parts]);
    const key = createHash('sha256').update(text).digest('hex').slice(0, 32);
    return new TokenStore(join(this.#folder, key), limits, {
      broken: (path, why) => this.#log.info(`${path} is broken (${why}): its rows are tokenised again`),
      unwritable: (error) =>
        this.#tellOnce(
          `tokens are not kept for the next start (${messageOf(error)}): make cache_dir writable, or set token_cache to false`,
        ),
    });
  }

  #tellOnce(message: string): void {
    if (!this.#told) this.#log.warn(message);
    this.#told = true;
  }
}

/** The cache that a run's configuration asks for, if any. */
export function tokenCacheOf(config: Pick<RunConfig, 'cacheDir' | 'tokenCache'>, log: Log): TokenCache | undefined {
  return config.tokenCache ? new TokenCache(cacheFolder(config.cacheDir), log) : undefined;
}

/** What rows of a table can be. */
export interface PartLimits {
  rows: number;
  maxLen: number;
  marks: boolean;
}

interface Reports {
  broken: (path: string, why: string) => void;
  unwritable: (error: unknown) => void;
}

/** The kept tokens of one table. */
export class TokenStore {
  readonly #folder: string;
  readonly #limits: PartLimits;
  readonly #reports: Reports;
  #parts: string[] = [];
  #waiting: TokenPart[] = [];
  #writing: Promise<void> | undefined;

  constructor(folder: string, limits: PartLimits, reports: Reports) {
    this.#folder = folder;
    this.#limits = limits;
    this.#reports = reports;
  }

  /** What is kept; a row may be there twice, with the same tokens. Broken parts are removed. */
  async read(): Promise<TokenPart[]> {
    const names = (await readdir(this.#folder).catch(() => [])).filter((name) => name.endsWith(ENDING)).sort();
    const found: TokenPart[] = [];
    for (const name of names) {
      const path = join(this.#folder, name);
      // One that another run has merged meanwhile is in the merged part, or is tokenised again.
      const bytes = await readFile(path).catch(() => undefined);
      const part = bytes && decodePart(bytes, this.#limits);
      if (typeof part === 'string') {
        this.#reports.broken(path, part);
        await rm(path, { force: true }).catch(() => undefined);
      } else if (part) {
        found.push(part);
        this.#parts.push(name);
      }
    }
    const now = new Date();
    if (found.length > 0) await utimes(this.#folder, now, now).catch(() => undefined);
    return found;
  }

  /**
   * Keeps rows, in the background; failures to write are told once and otherwise change nothing.
   * @param all gives all rows that are known, for writing them as one part
   */
  keep(part: TokenPart, all: () => TokenPart): void {
    this.#waiting.push(part);
    this.#writing ??= this.#write(all).finally(() => (this.#writing = undefined));
  }

  /** Waits until all that was to be kept is on disk. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #write(all: () => TokenPart): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const merge = this.#parts.length >= MOST_PARTS;
        const waiting = this.#waiting.splice(0);
        const old = merge ? this.#parts.splice(0) : [];
        const name = await this.#writePart(merge ? all() : joined(waiting));
        for (const gone of old) await rm(join(this.#folder, gone), { force: true });
        this.#parts.push(name);
      }
    } catch (error) {
      this.#waiting = [];
      this.#reports.unwritable(error);
    }
  }

  async #writePart(part: TokenPart): Promise<string> {
    const name = `${randomUUID()}${ENDING}`;
    const path = join(this.#folder, name);
    await mkdir(this.#folder, { recursive: true });
    try {
      const file = await open(`${path}.tmp`, 'wx');
      try {
        await file.writeFile(encodePart(part));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.tmp`, path);
    } catch (error) {
      await rm(`${path}.tmp`, { force: true }).catch(() => undefined);
      throw error;
    }
    return name;
  }
}

/** A part as the bytes of its file. */
export function encodePart({ rows, lengths, ids, marks }: TokenPart): Uint8Array {
  const small = ids.every((id) => id >= 0 && id < 2 ** 16);
  const packed = small ? Uint16Array.from(ids) : ids;
  const header = Int32Array.of(
    MAGIC,
    VERSION,
    rows.length,
    ids.length,
    packed.BYTES_PER_ELEMENT,
    marks.length > 0 ? 1 : 0,
  );
  const content = Buffer.concat([header, rows, lengths, packed, marks].map(bytesOf));
  return Buffer.concat([content, createHash('sha256').update(content).digest()]);
}

/** @returns the part, or why it is none */
export function decodePart(file: Uint8Array, limits: PartLimits): TokenPart | string {
  const content = file.subarray(0, -HASH_BYTES);
  if (file.length < HASH_BYTES + HEADER * 4) return `${file.length} bytes are too few`;
  if (!createHash('sha256').update(content).digest().equals(file.subarray(-HASH_BYTES))) return 'its hash is another';
  let at = 0;
  const take = <T>(array: new (buffer: ArrayBuffer) => T, bytes: number): T => {
    at += bytes;
    return new array(Uint8Array.from(content.subarray(at - bytes, at)).buffer);
  };
  const [magic, version, rows = 0, tokens = 0, idBytes, marked] = take(Int32Array, HEADER * 4);
  if (magic !== MAGIC || version !== VERSION) return 'another version wrote it';
  if (content.length !== HEADER * 4 + 8 * rows + tokens * (idBytes! + marked!)) return 'its length is another';
  const part: TokenPart = {
    rows: take(Int32Array, 4 * rows),
    lengths: take(Int32Array, 4 * rows),
    ids: idBytes === 2 ? Int32Array.from(take(Uint16Array, 2 * tokens)) : take(Int32Array, 4 * tokens),
    marks: take(Uint8Array, marked === 1 ? tokens : 0),
  };
  const fits =
    part.rows.every((row) => row >= 0 && row < limits.rows) &&
    part.lengths.every((length) => length >= 0 && length <= limits.maxLen) &&
    part.lengths.reduce((sum, length) => sum + length, 0) === tokens &&
    (tokens === 0 || limits.marks === (marked === 1));
  return fits ? part : 'its rows are none of this table';
}

function bytesOf({ buffer, byteOffset, byteLength }: Int32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function joined(parts: readonly TokenPart[]): TokenPart {
  if (parts.length === 1) return parts[0]!;
  const all = <T extends Int32Array | Uint8Array>(make: (length: number) => T, values: (part: TokenPart) => T): T => {
    const result = make(parts.reduce((sum, part) => sum + values(part).length, 0));
    let at = 0;
    for (const part of parts) {
      result.set(values(part), at);
      at += values(part).length;
    }
    return result;
  };
  const numbers = (length: number) => new Int32Array(length);
  return {
    rows: all(numbers, (part) => part.rows),
    lengths: all(numbers, (part) => part.lengths),
    ids: all(numbers, (part) => part.ids),
    marks: all(
      (length) => new Uint8Array(length),
      (part) => part.marks,
    ),
  };
}

/** Removes the folders used longest ago where all together are too large. Failures leave them. */
async function prune(root: string, most = MOST_BYTES): Promise<void> {
  const keys = (await readdir(root).catch(() => [])).filter((name) => KEY.test(name));
  const folders = await Promise.all(keys.map((key) => sizeOf(join(root, key))));
  let total = folders.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { path, bytes } of folders.sort((a, b) => a.used - b.used)) {
    if (total <= most) return;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
    total -= bytes;
  }
}

async function sizeOf(path: string): Promise<{ path: string; bytes: number; used: number }> {
  const names = await readdir(path).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(path, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  const used = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  return { path, bytes: sizes.reduce((sum, size) => sum + size, 0), used };
}

function tokenizersVersion(): string {
  return (createRequire(import.meta.url)('tokenizers/package.json') as { version: string }).version;
}
