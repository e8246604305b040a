/**
 * How far a round's submissions lie from one another, before they are averaged. It is recorded for people to look at
 * (`fltac report`); nothing of the training depends on it.
 */
import type { KmeansMetric, KmeansSpace } from '../engine/types.js';
import type { Bank, Engine } from './engine.js';
import type { Submission } from './server.js';
import { streamGenerator } from './streams.js';

export interface Geometry {
  /** which of the round's submissions were measured, ascending, in submission order */
  readonly submissions: readonly number[];
  /**
   * Squared distances, in the space that K-means clusters in, of pairs (i, j), i < j, of `submissions`, row by row of the
   * upper triangle: n (n - 1) / 2 values.
   */
  readonly squared: Float32Array;
}

export interface GeometryOptions {
  engine: Engine;
  bank: Bank;
  /** in submission order */
  submissions: readonly Submission[];
  /** most submissions to measure: the matrix grows with their square */
  limit: number;
  seed: number;
  space: { space: KmeansSpace; metric: KmeansMetric; standardize: boolean };
  signal?: AbortSignal | undefined;
}

/**
 * Measures a round's submissions: all, or of many a sample that keeps to the same adapters from round to round.
 *
 * @returns undefined where fewer than two are to be measured
 * @throws FltacError as the engine's `distances`
 */
export async function measureGeometry(options: GeometryOptions): Promise<Geometry | undefined> {
  const { engine, bank, submissions, space, signal } = options;
  const chosen = chooseSubmissions(submissions, options.limit, options.seed);
  const n = chosen.length;
  if (n < 2) return undefined;
  const rows = Int32Array.from(chosen, (index) => submissions[index]!.row);
  const all = await engine.distances(bank, { ...space, rows, signal });
  const squared = new Float32Array((n * (n - 1)) / 2);
  let at = 0;
  for (let i = 0; i < n; i += 1) {
    squared.set(all.subarray(i * n + i + 1, (i + 1) * n), at);
    at += n - i - 1;
  }
  return { submissions: chosen, squared };
}

/** Each bank row has a fixed place in a seeded shuffle; the first places are taken. */
function chooseSubmissions(submissions: readonly Submission[], limit: number, seed: number): number[] {
  const all = submissions.map((_, index) => index);
  if (all.length <= limit) return all;
  const places = Int32Array.from({ length: 1 + Math.max(...submissions.map(({ row }) => row)) }, (_, row) => row);
  streamGenerator(seed, 'geometry').shuffle(places);
  const placeOf = (index: number) => places[submissions[index]!.row]!;
  return all
    .sort((a, b) => placeOf(a) - placeOf(b))
    .slice(0, limit)
    .sort((a, b) => a - b);
}
