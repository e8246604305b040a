/** What a caller of K-means gave, looked at before native code sees it: every fault is told in the API's own words. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { types } from 'node:util';
import { FltacError } from '../errors.js';
import { didYouMean, nearest } from '../suggest.js';
import type { AdapterBank } from './index.js';
import type { NativeChunk } from './native.js';
import type { KmeansChunk, KmeansOptions, KmeansShape, SpaceOptions } from './types.js';

/** Rows to cluster: a matrix, a whole bank, one chunk, or a list of chunks. */
export type KmeansData = Float32Array | AdapterBank | KmeansChunk<AdapterBank> | readonly KmeansChunk<AdapterBank>[];

/** An option's name and what else it is often called. */
type Names<Options> = Readonly<Record<keyof Options & string, readonly string[]>>;

const SPACE_NAMES: Names<SpaceOptions> = { space: [], standardize: ['normalize'], metric: ['distance'] };
const SHAPE_NAMES: Names<KmeansShape> = {
  rows: ['n_rows', 'n_samples'],
  columns: ['n_columns', 'n_features', 'dims'],
  layout: [],
};

export const DISTANCE_NAMES = { ...SPACE_NAMES, ...SHAPE_NAMES, signal: [] };

export const KMEANS_NAMES: Names<KmeansOptions & KmeansShape> = {
  k: ['n_clusters', 'clusters'],
  mostK: ['max_k'],
  nInit: ['starts'],
  maxIter: ['iterations', 'max_iterations'],
  tol: ['tolerance'],
  seed: ['random_state'],
  exchange: [],
  device: [],
  path: ['algorithm'],
  gram: [],
  centroids: [],
  ...DISTANCE_NAMES,
};

export const BATCH_NAMES = { ...KMEANS_NAMES, batch: ['n_batch'] };

const ADAPTER_FILE = 'adapter_model.safetensors';
const EXPECTED =
  'a Float32Array, an AdapterBank, { bank, rows? }, { file, tensor? }, or a list of Float32Arrays, { bank } and { file }';

/**
 * Refuses options that are none, and names nobody knows with the nearest that is known; a configuration's spelling
 * (kmeans_n_init) and scikit-learn's (n_clusters) find theirs.
 * @throws FltacError USAGE
 */
export function checkOptions(options: unknown, names: Readonly<Record<string, readonly string[]>>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new FltacError('USAGE', `options must be an object such as { k: 5 }, found ${describe(options)}`);
  }
  const known = Object.keys(names);
  const spellings = known.flatMap((name) => [name, `kmeans_${name}`, ...names[name]!].map((as) => [as, name] as const));
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const name = nearest(key, spellings);
    const hint = name === undefined ? `; there are ${known.join(', ')}` : `; did you mean ${name}?`;
    throw new FltacError('USAGE', `unknown option ${key}${hint}`);
  }
}

/** @throws FltacError USAGE where the number of clusters is not given, or is neither a number nor "auto" */
export function checkClusters(k: unknown): void {
  if (typeof k === 'number' || k === 'auto') return;
  const found = typeof k === 'string' ? JSON.stringify(k) : describe(k);
  throw new FltacError('USAGE', `k must be the number of clusters or "auto", found ${found}`);
}

/** Rows as the addon takes them, and their columns where these are known before files are read. */
export interface Gathered {
  chunks: NativeChunk[];
  columns: number | undefined;
}

/** @throws FltacError USAGE for data of another kind, SHAPE for a matrix of another size, IO for a folder of no adapter */
export function gather(data: KmeansData, { rows, columns }: KmeansShape): Gathered {
  const given: unknown = data;
  if (types.isFloat32Array(given)) {
    requireSize(given, { rows, columns });
    return { chunks: [{ values: given }], columns };
  }
  if (isBank(given)) return { chunks: [bankChunk(given, rows, 'rows')], columns };
  const list = Array.isArray(given) ? (given as readonly unknown[]) : undefined;
  // A list of numbers or of lists of numbers was meant as a matrix.
  const meantAsMatrix = list !== undefined && list.length > 0 && (isNumbers(list) || list.every(isNumbers));
  if (meantAsMatrix || (list === undefined && !isChunk(given))) throw wrongData('data', EXPECTED, given);
  if (rows !== undefined) {
    throw new FltacError(
      'USAGE',
      'rows goes with a Float32Array or an AdapterBank: leave it out, or say { bank, rows }; a list and a file have all theirs',
    );
  }
  if (list === undefined) return { chunks: [chunkOf(given, 'data', columns)], columns };
  const width = columns ?? widthOf(list);
  return { chunks: list.map((part, i) => chunkOf(part, `data[${i}]`, width)), columns: width };
}

/**
 * @param sizes of the dimensions by name, slowest first
 * @throws FltacError USAGE for data that are no Float32Array, or a size that is not given; SHAPE for other sizes
 */
export function requireSize(data: unknown, sizes: Readonly<Record<string, unknown>>): void {
  if (!types.isFloat32Array(data)) throw wrongData('data', 'a Float32Array', data);
  for (const [name, size] of Object.entries(sizes)) {
    if (typeof size === 'number') continue;
    const all = Object.keys(sizes).join(', ');
    throw new FltacError(
      'USAGE',
      `${name} is needed as a number with a Float32Array (${all}), found ${describe(size)}`,
    );
  }
  const all = Object.entries(sizes) as [string, number][];
  const positive = all.every(([, size]) => Number.isInteger(size) && size > 0);
  if (positive && data.length === all.reduce((product, [, size]) => product * size, 1)) return;
  const expected = all.map(([name, size]) => `${name} (${size})`).join(' x ');
  throw new FltacError('SHAPE', `data has ${data.length} values, expected ${expected}`);
}

function chunkOf(part: unknown, name: string, columns: number | undefined): NativeChunk {
  if (types.isFloat32Array(part)) {
    if (columns !== undefined) return { values: part };
    throw new FltacError(
      'USAGE',
      `columns is needed where a list holds a Float32Array: how many of its ${part.length} values are a row`,
    );
  }
  if (isBank(part)) return bankChunk(part, undefined, 'rows');
  if (!isChunk(part)) throw wrongData(name, 'a Float32Array, { bank, rows? } or { file, tensor? }', part);
  const known = 'bank' in part ? ['bank', 'rows'] : ['file', 'tensor'];
  const unknown = Object.keys(part).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const hint = didYouMean(unknown, known) || `; there are ${known.join(' and ')}`;
    throw new FltacError('USAGE', `${name} has an unknown key ${unknown}${hint}`);
  }
  return 'bank' in part ? ownRows(part, name) : fileChunk(part, name);
}

function ownRows({ bank, rows }: { bank: unknown; rows?: unknown }, name: string): NativeChunk {
  if (isBank(bank)) return bankChunk(bank, rows, `${name}.rows`);
  throw wrongData(`${name}.bank`, 'an AdapterBank', bank);
}

function bankChunk(bank: AdapterBank, rows: unknown, name: string): NativeChunk {
  if (rows !== undefined && !types.isInt32Array(rows)) {
    throw new FltacError('USAGE', `${name} of a bank must be an Int32Array that lists them, found ${describe(rows)}`);
  }
  return { bank: bank.handle, rows: rows ?? Int32Array.from({ length: bank.rows }, (_, row) => row) };
}

function fileChunk({ file, tensor }: { file: unknown; tensor?: unknown }, name: string): NativeChunk {
  if (typeof file !== 'string') throw wrongData(`${name}.file`, 'the path of a safetensors file', file);
  if (tensor !== undefined && typeof tensor !== 'string') throw wrongData(`${name}.tensor`, "a tensor's name", tensor);
  if (!isFolder(file)) return { file, tensor };
  const within = path.join(file, ADAPTER_FILE);
  if (existsSync(within)) return { file: within, tensor };
  throw new FltacError(
    'IO',
    `${file} is a folder without ${ADAPTER_FILE}: name a safetensors file, or the folder of a PEFT adapter`,
  );
}

/** Folders that cannot be looked at count as files: reading them says why. */
function isFolder(file: string): boolean {
  try {
    return statSync(file).isDirectory();
  } catch {
    return false;
  }
}

function widthOf(list: readonly unknown[]): number | undefined {
  for (const part of list) {
    const bank = isChunk(part) && 'bank' in part ? part.bank : part;
    if (isBank(bank)) return bank.layout.size;
  }
  return undefined;
}

function isBank(value: unknown): value is AdapterBank {
  return typeof value === 'object' && value !== null && 'handle' in value && 'layout' in value && 'rows' in value;
}

function isChunk(value: unknown): value is { bank: unknown } | { file: unknown } {
  return typeof value === 'object' && value !== null && ('bank' in value || 'file' in value);
}

function isNumbers(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'number');
}

function wrongData(name: string, expected: string, found: unknown): FltacError {
  return new FltacError('USAGE', `${name} must be ${expected}; found ${describe(found)}${remedy(found)}`);
}

/** How what was given becomes what is taken, where that is plain. */
function remedy(found: unknown): string {
  if (typeof found === 'string') return `: a file is given as { file: ${JSON.stringify(found)} }`;
  if (types.isSharedArrayBuffer(found) || types.isArrayBuffer(found)) return ': pass new Float32Array(buffer)';
  if (Buffer.isBuffer(found)) return ': pass a Float32Array over its bytes';
  if (isNumbers(found) || types.isTypedArray(found)) return ': pass Float32Array.from(values)';
  if (Array.isArray(found) && found.every(isNumbers))
    return ': pass Float32Array.from(values.flat()) with rows and columns';
  return '';
}

/** `a Float64Array`, `a Buffer`, `a plain array of numbers`, `an object with n_init`, `undefined` */
function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value !== 'object') return withArticle(typeof value);
  if (isNumbers(value)) return 'a plain array of numbers';
  if (Array.isArray(value)) return value.length > 0 && value.every(isNumbers) ? 'an array of arrays' : 'an array';
  const kind = Buffer.isBuffer(value) ? 'Buffer' : Object.prototype.toString.call(value).slice(8, -1);
  if (kind !== 'Object') return withArticle(kind);
  const keys = Object.keys(value).slice(0, 4);
  return keys.length === 0 ? 'an object' : `an object with ${keys.join(', ')}`;
}

function withArticle(name: string): string {
  return `${/^[AEIO]/i.test(name) ? 'an' : 'a'} ${name}`;
}
