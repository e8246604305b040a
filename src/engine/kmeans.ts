/** K-means, for adapters and for any other rows. */
import {
  BATCH_NAMES,
  DISTANCE_NAMES,
  KMEANS_NAMES,
  checkClusters,
  checkOptions,
  gather,
  requireSize,
} from './kmeans-input.js';
import type { KmeansData } from './kmeans-input.js';
import { callNative } from './native.js';
import type { MachineRates } from './native.js';
import type { KmeansOptions, KmeansResult, KmeansShape, SpaceOptions } from './types.js';

/**
 * Exact K-means: k-means++ starts and Lloyd iterations with scikit-learn's meaning of its options, then (with few rows)
 * exchanges of single rows that lower the inertia further. docs/kmeans.md says how each path works.
 *
 * @param data a row-major [rows, columns] matrix; a bank of adapters, read in place; a safetensors file or the folder
 *   of a PEFT adapter; or a list of all of these, whose rows are clustered together. A matrix over a SharedArrayBuffer is read in place and must not be written meanwhile; any
 *   other is copied first, since JavaScript could take its memory away.
 * @throws FltacError USAGE for data of another kind and for bad or unknown options, SHAPE for data of another size, NON_FINITE naming row, column and tensor,
 *   UNSUPPORTED for a device that is not there, IO or FORMAT naming the file, ABORTED through the signal
 */
export async function kmeans(data: KmeansData, options: KmeansOptions & KmeansShape): Promise<KmeansResult> {
  checkOptions(options, KMEANS_NAMES);
  const { signal, ...given } = options;
  checkClusters(given.k);
  const { chunks, columns } = gather(data, options);
  const settings = { ...given, columns };
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
  checkOptions(options, BATCH_NAMES);
  const { signal, batch, rows, ...settings } = options;
  checkClusters(settings.k);
  requireSize(data, { batch, rows, columns: settings.columns });
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
  data: KmeansData,
  options: SpaceOptions & KmeansShape & { signal?: AbortSignal | undefined } = {},
): Promise<Float64Array> {
  checkOptions(options, DISTANCE_NAMES);
  const { signal, ...given } = options;
  const { chunks, columns } = gather(data, options);
  const settings = { ...given, columns };
  return callNative((addon, hooks) => addon.squaredDistances(chunks, { ...settings, ...hooks }), { signal });
}

/** Measures what this machine can do at best; takes about a second and half a gigabyte. */
export async function machineRates(): Promise<MachineRates> {
  return callNative((addon) => addon.machineRates());
}
