/**
 * A run proves itself as it goes: each check is cheap, runs every round, and stops the run with what is wrong.
 */
import type { AdapterLayout } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Bank } from './engine.js';

/** @throws FltacError ABORTED once the signal is aborted */
export function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new FltacError('ABORTED', 'the work was stopped');
}

/** @throws FltacError INTERNAL unless every row of the bank equals row 0, and row 0 is finite */
export function assertCommonStart(bank: Bank): void {
  const first = bank.get(0);
  const bad = first.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new FltacError('NON_FINITE', `the common initial adapter has the value ${first[bad]!} at position ${bad}`);
  }
  for (let row = 1; row < bank.rows; row += 1) {
    const values = bank.get(row);
    const at = values.findIndex((value, i) => value !== first[i]);
    if (at < 0) continue;
    throw new FltacError(
      'INTERNAL',
      `adapter ${row} does not start from the common initial state: value ${at} is ${values[at]!}, not ${first[at]!}`,
    );
  }
}

/** @throws FltacError NON_FINITE naming `who` and the step (counted from 1) of the first loss that is not finite */
export function assertFiniteLosses(losses: Float64Array, who: string): void {
  const step = losses.findIndex((loss) => !Number.isFinite(loss));
  if (step < 0) return;
  throw new FltacError(
    'NON_FINITE',
    `the training loss of ${who} is ${losses[step]!} at step ${step + 1} of ${losses.length}: ` +
      'the training diverged; try a lower lr',
  );
}

/**
 * @param before, after one adapter, layout.size values each
 * @throws FltacError INTERNAL naming `who` and the first module none of whose values changed; NON_FINITE for a value
 *   that is not finite
 */
export function assertMoved(layout: AdapterLayout, before: Float32Array, after: Float32Array, who: string): void {
  const moved = new Map<string, boolean>();
  layout.tensors.forEach((tensor, i) => {
    const end = layout.tensors[i + 1]?.offset ?? layout.size;
    let changed = false;
    for (let at = tensor.offset; at < end; at += 1) {
      const value = after[at]!;
      if (!Number.isFinite(value)) {
        throw new FltacError('NON_FINITE', `${tensor.name} of ${who} holds ${value} after training; try a lower lr`);
      }
      changed ||= value !== before[at];
    }
    // While B is zero A gets no gradient, so it is the pair that must move.
    const module = moduleOf(tensor.name);
    moved.set(module, (moved.get(module) ?? false) || changed);
  });
  const still = [...moved].find(([, changed]) => !changed);
  if (still === undefined) return;
  throw new FltacError('INTERNAL', `${still[0]} of ${who} did not change in training, which every adapter must`);
}

/** The module that an adapter's tensor belongs to: `...query.lora_A.default.weight` belongs to `...query`. */
function moduleOf(name: string): string {
  return name.replace(/\.(lora_[AB]|modules_to_save)\..*$/, '');
}

export interface MeansCheck {
  bank: Bank;
  centres: Bank;
  rows: Int32Array;
  labels: Int32Array;
  weights: Float64Array;
  /** moves the sampled columns, so that rounds look at different ones */
  round: number;
}

const SAMPLED_COLUMNS = 64;

/**
 * Recomputes some columns of every mean in float64.
 *
 * Tolerance: a float32 sum of m terms is off by at most m x 2^-24 of the terms' absolute sum; twice that is allowed,
 * and never less than 1e-6 of it, nor than float32's smallest normal value, below which it may be flushed to zero.
 *
 * @throws FltacError INTERNAL naming the first cluster and value that differ
 */
export function assertWeightedMeans(check: MeansCheck): void {
  const size = check.bank.layout.size;
  const columns = Array.from(
    { length: Math.min(SAMPLED_COLUMNS, size) },
    (_, i) => (Math.floor((i * size) / Math.min(SAMPLED_COLUMNS, size)) + check.round - 1) % size,
  );
  const clusters = sumClusters(check, columns);
  clusters.forEach((sum, cluster) => {
    const mean = check.centres.get(cluster);
    columns.forEach((column, i) => {
      const expected = sum.values[i]! / sum.weight;
      const relative = (Math.max(1e-6, sum.members * 2 ** -23) * sum.absolute[i]!) / sum.weight;
      const tolerance = Math.max(relative, 2 ** -126);
      if (Math.abs(mean[column]! - expected) <= tolerance) return;
      throw new FltacError(
        'INTERNAL',
        `round ${check.round}: value ${column} of cluster ${cluster}'s mean is ${mean[column]!}, ` +
          `but the weighted mean of its ${sum.members} adapters is ${expected}`,
      );
    });
  });
}

interface ClusterSum {
  members: number;
  weight: number;
  values: Float64Array;
  absolute: Float64Array;
}

function sumClusters(check: MeansCheck, columns: readonly number[]): Map<number, ClusterSum> {
  const clusters = new Map<number, ClusterSum>();
  check.rows.forEach((row, i) => {
    const label = check.labels[i]!;
    const weight = check.weights[i]!;
    const sum = clusters.get(label) ?? {
      members: 0,
      weight: 0,
      values: new Float64Array(columns.length),
      absolute: new Float64Array(columns.length),
    };
    clusters.set(label, sum);
    sum.members += 1;
    sum.weight += weight;
    const adapter = check.bank.get(row);
    columns.forEach((column, c) => {
      sum.values[c]! += weight * adapter[column]!;
      sum.absolute[c]! += Math.abs(weight * adapter[column]!);
    });
  });
  return clusters;
}

/** Inputs of each module for which the mean product is formed again. */
const SAMPLED_INPUTS = 2;

/**
 * Checks factors of mean products on some columns of every module: U of the best approximation of M at a rank spans what
 * it keeps of M, so that B^T (M - B A) = 0 however much the rank cuts off.
 *
 * Tolerance: 1e-4 of ||B|| ||M e_j||, float32's rounding of B and A.
 *
 * @throws FltacError INTERNAL naming the first cluster and module that are not
 */
export function assertMeanProducts(check: MeansCheck): void {
  const { bank, rows, labels, weights, round } = check;
  for (const cluster of new Set(labels)) {
    const members = [...rows.keys()].filter((i) => labels[i] === cluster);
    if (members.length === 1) continue;
    const adapters = members.map((i) => bank.get(rows[i]!));
    const total = members.reduce((sum, i) => sum + weights[i]!, 0);
    const shares = members.map((i) => weights[i]! / total);
    const centre = check.centres.get(cluster);
    for (const pair of loraPairs(bank.layout)) {
      for (let s = 0; s < SAMPLED_INPUTS; s += 1) {
        const input = (round * 7919 + s * Math.ceil(pair.inputs / SAMPLED_INPUTS)) % pair.inputs;
        const column = new Float64Array(pair.outputs);
        adapters.forEach((adapter, i) => addColumn(column, adapter, pair, input, shares[i]!));
        const off = column.slice();
        addColumn(off, centre, pair, input, -1);
        const { largest, scale } = projection(off, column, centre, pair);
        if (largest <= 1e-4 * scale + 2 ** -126) continue;
        throw new FltacError(
          'INTERNAL',
          `round ${round}: the factors of cluster ${cluster} for ${pair.name} are not those of the mean product of its ` +
            `${members.length} adapters: column ${input} is off by ${largest}`,
        );
      }
    }
  }
}

/** One module's factors in a flat adapter: A [rank, inputs] from `a`, B [outputs, rank] from `b`. */
interface LoraPair {
  name: string;
  a: number;
  b: number;
  rank: number;
  inputs: number;
  outputs: number;
}

function loraPairs({ tensors }: AdapterLayout): LoraPair[] {
  return tensors.flatMap(({ name, shape: [rank, inputs], offset: a }): LoraPair[] => {
    const other = name.includes('.lora_A.') ? name.replace('.lora_A.', '.lora_B.') : undefined;
    const b = tensors.find((tensor) => tensor.name === other);
    if (b === undefined) return [];
    return [{ name: moduleOf(name), a, b: b.offset, rank: rank!, inputs: inputs!, outputs: b.shape[0]! }];
  });
}

/** column += weight x (B A)[:, input] */
function addColumn(column: Float64Array, adapter: Float32Array, pair: LoraPair, input: number, weight: number): void {
  const { a, b, rank, inputs } = pair;
  for (let o = 0; o < column.length; o += 1) {
    let sum = 0;
    for (let r = 0; r < rank; r += 1) sum += adapter[b + o * rank + r]! * adapter[a + r * inputs + input]!;
    column[o]! += weight * sum;
  }
}

/** The largest entry of B^T off, and ||B|| ||column|| to compare it with. */
function projection(off: Float64Array, column: Float64Array, adapter: Float32Array, { b, rank }: LoraPair) {
  const onto = new Float64Array(rank);
  let squares = 0;
  off.forEach((value, o) => {
    for (let r = 0; r < rank; r += 1) {
      const entry = adapter[b + o * rank + r]!;
      onto[r]! += entry * value;
      squares += entry * entry;
    }
  });
  const length = Math.sqrt(column.reduce((sum, value) => sum + value * value, 0));
  return {
    largest: onto.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
    scale: Math.sqrt(squares) * length,
  };
}
