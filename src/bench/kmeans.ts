/** How long one K-means over adapters takes. */
import { kmeans, setThreads } from '../engine/index.js';
import { memoryLimit } from '../engine/memory.js';
import { resolveThreads } from '../engine/threads.js';
import { FltacError } from '../errors.js';
import { Generator } from '../numpy/index.js';
import { statistics } from './statistics.js';
import type { Milliseconds } from './statistics.js';

export interface KmeansShape {
  rows: number;
  columns: number;
  k: number;
  nInit: number;
  repeat: number;
  seed: number;
  /** 0 takes OMP_NUM_THREADS, or else all cores; in a report, those taken */
  threads: number;
}

export interface KmeansReport extends KmeansShape {
  milliseconds: Milliseconds;
  inertia: number;
  iterations: number;
  /** implementation that ran */
  path: string;
}

/**
 * Clusters made-up data: k normal blobs a distance of 2 apart in each of `columns` directions, unit spread, rows dealt
 * to the blobs in turn. One untimed run comes first.
 *
 * @throws FltacError USAGE for a matrix that does not fit into memory
 */
export async function benchKmeans(shape: KmeansShape, signal: AbortSignal): Promise<KmeansReport> {
  const { rows, columns, k, nInit, repeat, seed } = shape;
  assertFits(shape);
  const threads = resolveThreads(shape.threads);
  setThreads(threads);
  const data = blobs(shape);
  const cluster = () => kmeans(data, { rows, columns, k, nInit, seed, signal });
  const { inertia, iterations, path } = await cluster();
  const times: number[] = [];
  for (let run = 0; run < repeat; run++) {
    const started = performance.now();
    await cluster();
    times.push(performance.now() - started);
  }
  return { ...shape, threads, milliseconds: statistics(times), inertia, iterations, path };
}

/** The matrix and the engine's copy of it have to fit into memory. @throws FltacError USAGE */
export function assertFits({ rows, columns }: Pick<KmeansShape, 'rows' | 'columns'>, memory = memoryLimit()): void {
  const bytes = 2 * rows * columns * Float32Array.BYTES_PER_ELEMENT;
  if (bytes <= memory) return;
  const gigabytes = (value: number) => `${(value / 1e9).toFixed(1)} GB`;
  throw new FltacError(
    'USAGE',
    `--rows ${rows} and --columns ${columns} need ${gigabytes(bytes)} of memory (the matrix and a copy), ` +
      `this machine has ${gigabytes(memory)}: choose fewer`,
  );
}

function blobs({ rows, columns, k, seed }: KmeansShape): Float32Array {
  const random = new Generator(seed);
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const centre = 2 * (row % k);
    for (let column = 0; column < columns; column++) {
      data[row * columns + column] = centre + random.standardNormal();
    }
  }
  return data;
}
