/** K-means, for adapters and for any other rows. */
import { FltacError } from '../errors.js';
import type { AdapterBank } from './index.js';
import { callNative } from './native.js';
import type { MachineRates, NativeChunk } from './native.js';
import type { KmeansChunk, KmeansOptions, KmeansResult, KmeansShape, SpaceOptions } from './types.js';

/**
 * Exact K-means: k-means++ starts and Lloyd iterations with scikit-learn's meaning of its options, then (with few rows)
 * exchanges of single rows that lower the inertia further. docs/kmeans.md says how each path works.
 *
 * @param data a row-major [rows, columns] matrix; a bank of adapters, read in place; or a list of both and of files, whose
 *   rows are clustered together. A matrix over a SharedArrayBuffer is read in place and must not be written meanwhile; any
 *   other is copied first, since JavaScript could take its memory away.
 * @throws FltacError USAGE for bad options, SHAPE for data of another size, NON_FINITE naming row, column and tensor,
 *   UNSUPPORTED for a device that is not there, IO or FORMAT naming the file, ABORTED through the signal
 */
export async function kmeans(
  data: Float32Array | AdapterBank | readonly KmeansChunk<AdapterBank>[],
  options: KmeansOptions & KmeansShape,
): Promise<KmeansResult> {
  const { signal, rows, ...settings } = options;
  const chunks = chunksOf(data, rows, settings.columns);
  const [result] = await callNative((addon, hooks) => addon.kmeans([chunks], { ...settings, ...hooks }), { signal });
  return result!;
}

/**
 * Several independent problems of one shape with the same options, one after another; the path "fused" on CUDA solves
 * them all at once.
 *
 * @param data a row-major [batch, rows, columns] array
 * @throws as `kmeans`
 */
export async function kmeansBatch(
  data: Float32Array,
  options: KmeansOptions & { batch: number; rows: number; columns: number },
): Promise<KmeansResult[]> {
  const { signal, batch, rows, ...settings } = options;
  requireSize(data, batch * rows, settings.columns);
  const size = rows * settings.columns;
  const problems = Array.from({ length: batch }, (_, b) => [{ values: data.subarray(b * size, (b + 1) * size) }]);
  return callNative((addon, hooks) => addon.kmeans(problems, { ...settings, ...hooks }), { signal });
}

/**
 * Squared distances between rows in the space of a clustering, [n, n] row-major: symmetric, zero on the diagonal, never
 * negative; from the Gram matrix, in float64 (native/kmeans/gram.h tells its accuracy).
 *
 * @param data as for `kmeans`
 * @throws FltacError USAGE for bad options, SHAPE, NON_FINITE, IO or FORMAT as `kmeans`, UNSUPPORTED for more than 16384
 *   rows, ABORTED through the signal
 */
export async function squaredDistances(
  data: Float32Array | AdapterBank | readonly KmeansChunk<AdapterBank>[],
  options: SpaceOptions & KmeansShape & { signal?: AbortSignal | undefined } = {},
): Promise<Float64Array> {
  const { signal, rows, ...settings } = options;
  const chunks = chunksOf(data, rows, settings.columns);
  return callNative((addon, hooks) => addon.squaredDistances(chunks, { ...settings, ...hooks }), { signal });
}

/** Measures what this machine can do at best; takes about a second and half a gigabyte. */
export async function machineRates(): Promise<MachineRates> {
  return callNative((addon) => addon.machineRates());
}

function chunksOf(
  data: Float32Array | AdapterBank | readonly KmeansChunk<AdapterBank>[],
  rows: KmeansShape['rows'],
  columns: number | undefined,
): NativeChunk[] {
  if (data instanceof Float32Array) {
    if (typeof rows !== 'number' || columns === undefined) {
      throw new FltacError('USAGE', 'a matrix needs its number of rows and columns');
    }
    requireSize(data, rows, columns);
    return [{ values: data }];
  }
  if (typeof rows === 'number') throw new FltacError('USAGE', 'rows of a bank are listed in an Int32Array');
  if ('handle' in data) return [bankChunk(data, rows)];
  return data.map((chunk) => {
    if (chunk instanceof Float32Array) return { values: chunk };
    return 'bank' in chunk ? bankChunk(chunk.bank, chunk.rows) : chunk;
  });
}

function bankChunk(bank: AdapterBank, rows?: Int32Array): NativeChunk {
  return { bank: bank.handle, rows: rows ?? Int32Array.from({ length: bank.rows }, (_, row) => row) };
}

function requireSize(data: Float32Array, rows: number, columns: number): void {
  const positive = Number.isInteger(rows) && Number.isInteger(columns) && rows > 0 && columns > 0;
  if (positive && data.length === rows * columns) return;
  throw new FltacError('SHAPE', `data has ${data.length} values, expected rows (${rows}) x columns (${columns})`);
}
