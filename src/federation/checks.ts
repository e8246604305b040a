/**
 * A run proves itself as it goes: each check is cheap, runs every round, and stops the run with what is wrong.
 */
import { setImmediate } from 'node:timers/promises';
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

export interface MovedCheck {
  layout: AdapterLayout;
  /** one adapter, layout.size values each */
  before: Float32Array;
  after: Float32Array;
  /** of each optimiser step */
  losses: Float64Array;
  lr: number;
  weightDecay: number;
  /** whether LoRA's A is not trained; default false */
  freezesA?: boolean;
  /** names client, task and round in an error */
  who: string;
}

/** Below this loss a batch is learned by heart: its gradient may be too small to move a float32. */
const LEARNED = 1e-3;

/**
 * Every tensor of a trained adapter must move by more than its weight decay, which alone would hide a gradient that
 * never came: the target modules' A and B, and a trained head. Exempt are a frozen A, which must stay as it is; an A that
 * met only a zero B (B = 0 lets no gradient through to A in the first step); tensors too large for steps of lr to show in
 * float32; an adapter whose losses are all below 1e-3; and the biases of keys in a whole model. A gradient that is not
 * finite makes AdamW's update not finite, and with it a value here.
 *
 * @throws FltacError INTERNAL naming `who` and the first tensor that stayed; NON_FINITE for a value that is not finite
 */
export function assertMoved(check: MovedCheck): void {
  const { layout, before, after, losses, lr, who } = check;
  const learned = losses.every((loss) => loss < LEARNED);
  const decay = (1 - lr * check.weightDecay) ** losses.length;
  // Each step's product with the decay rounds once.
  const rounding = (losses.length + 1) * 2 ** -23;
  layout.tensors.forEach(({ name, offset }, i) => {
    let moved = false;
    let largest = 0;
    for (let at = offset; at < (layout.tensors[i + 1]?.offset ?? layout.size); at += 1) {
      const value = after[at]!;
      const start = before[at]!;
      if (!Number.isFinite(value)) {
        throw new FltacError('NON_FINITE', `${name} of ${who} holds ${value} after training; try a lower lr`);
      }
      largest = Math.max(largest, Math.abs(start));
      moved ||= value !== start && Math.abs(value - start * decay) > rounding * Math.abs(start);
    }
    if (check.freezesA === true && name.includes('.lora_A.')) {
      if (!sameValues(before, after, offset, layout.tensors[i + 1]?.offset ?? layout.size)) {
        throw new FltacError('INTERNAL', `${name} of ${who} moved in training, though it is frozen`);
      }
      return;
    }
    if (moved || learned || isInert(name)) return;
    if (lr > 2 ** -20 * largest && !(losses.length === 1 && metZeroB(layout, name, before))) {
      throw new FltacError('INTERNAL', `${name} of ${who} did not move in training, which every adapter must`);
    }
  });
}

/**
 * Whether a tensor of a whole model may stay as it is: the bias of keys adds the same to all scores of a query, which the
 * softmax takes out again, so that what reaches it is rounding. (With rotary positions it does count, and moves.)
 */
export function isInert(name: string): boolean {
  return /\.(key|k_lin|k_proj)\.bias$/.test(name);
}

/** Whether two flat adapters have the same values from `begin` up to `end`. */
export function sameValues(a: Float32Array, b: Float32Array, begin: number, end: number): boolean {
  for (let at = begin; at < end; at += 1) if (a[at] !== b[at]) return false;
  return true;
}

/** Whether a tensor is the A of a pair whose B is zero. */
export function metZeroB(layout: AdapterLayout, name: string, values: Float32Array): boolean {
  const index = layout.tensors.findIndex((tensor) => tensor.name === name.replace('.lora_A.', '.lora_B.'));
  if (index < 0 || !name.includes('.lora_A.')) return false;
  const end = layout.tensors[index + 1]?.offset ?? layout.size;
  return values.subarray(layout.tensors[index]!.offset, end).every((value) => value === 0);
}

/**
 * @returns the number of members of each cluster
 * @throws FltacError INTERNAL unless each of `submissions` adapters has a cluster, and each cluster a member
 */
export function assertClusters(
  { labels, clusters }: { labels: Int32Array; clusters: number },
  submissions: number,
  round: number,
): number[] {
  const sizes = new Array<number>(clusters).fill(0);
  for (const label of labels) if (label in sizes) sizes[label]! += 1;
  const counted = sizes.reduce((sum, size) => sum + size, 0);
  if (labels.length === submissions && counted === submissions && !sizes.includes(0)) return sizes;
  throw new FltacError(
    'INTERNAL',
    `round ${round}: ${submissions} adapters were sent, but ${labels.length} are in clusters, ` +
      `of ${sizes.join(', ')} members`,
  );
}

export interface MeansCheck {
  bank: Bank;
  centres: Bank;
  rows: Int32Array;
  labels: Int32Array;
  weights: Float64Array;
  round: number;
}

/** float32's smallest normal value */
const SMALLEST = 2 ** -126;

/** That the means of a round are right. */
export interface MeansProof {
  /** values that were computed again */
  readonly values: number;
  /** largest difference, relative to the mean of the terms' absolute values */
  readonly error: number;
}

/** One member of a weighted mean. */
export interface MeanTerm {
  weight: number;
  values: Float32Array;
}

/** A value that is not the weighted mean. */
export interface MeanFault {
  at: number;
  found: number;
  expected: number;
}

/**
 * Recomputes every value of every mean in float64; about 6 ns for each value of each member.
 *
 * @throws FltacError INTERNAL naming the first cluster, tensor and value that differ
 */
export async function assertWeightedMeans(check: MeansCheck): Promise<MeansProof> {
  const { bank, rows, labels, weights } = check;
  const proof = { values: 0, error: 0 };
  for (const cluster of new Set(labels)) {
    const members = [...rows.keys()].filter((i) => labels[i] === cluster);
    const mean = check.centres.get(cluster);
    const { fault, error } = compareMean(mean, members.length, function* () {
      for (const i of members) yield { weight: weights[i]!, values: bank.get(rows[i]!) };
    });
    if (fault !== undefined) {
      const { at, found, expected } = fault;
      throw new FltacError(
        'INTERNAL',
        `round ${check.round}: value ${at} of cluster ${cluster}'s mean (${tensorAt(at, bank.layout)}) is ${found}, ` +
          `but the weighted mean of its ${members.length} adapters is ${expected}`,
      );
    }
    proof.values += mean.length;
    proof.error = Math.max(proof.error, error);
    // The clusters of large adapters take a second together: let a signal in between.
    await setImmediate();
  }
  return proof;
}

/**
 * Compares a mean with the weighted mean of its terms in float64.
 *
 * Tolerance: a float32 sum of m terms is off by at most m x 2^-24 of the terms' absolute sum; twice that is allowed,
 * and never less than 1e-6 of it, nor than float32's smallest normal value, below which it may be flushed to zero.
 *
 * @param terms gives the terms one after another, so that they need not be in memory together
 * @returns the first value that differs, and the largest difference relative to the mean of the terms' absolute values
 */
export function compareMean(
  mean: Float32Array,
  count: number,
  terms: () => Iterable<MeanTerm>,
): { fault?: MeanFault; error: number } {
  const sums = new Float64Array(mean.length);
  const absolute = new Float64Array(mean.length);
  let total = 0;
  for (const { weight, values } of terms()) {
    total += weight;
    for (let at = 0; at < values.length; at += 1) {
      const term = weight * values[at]!;
      sums[at]! += term;
      absolute[at]! += Math.abs(term);
    }
  }
  let error = 0;
  for (let at = 0; at < mean.length; at += 1) {
    const expected = sums[at]! / total;
    const scale = absolute[at]! / total;
    const off = Math.abs(mean[at]! - expected);
    // Written so that NaN fails.
    if (!(off <= Math.max(1e-6 * scale, count * 2 ** -23 * scale, SMALLEST))) {
      return { fault: { at, found: mean[at]!, expected }, error: off / scale };
    }
    if (scale >= SMALLEST && off > error * scale) error = off / scale;
  }
  return { error };
}

function tensorAt(at: number, { tensors }: AdapterLayout): string {
  return tensors.filter(({ offset }) => offset <= at).at(-1)!.name;
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

/** The module that an adapter's tensor belongs to: `...query.lora_A.default.weight` belongs to `...query`. */
function moduleOf(name: string): string {
  return name.replace(/\.(lora_[AB]|modules_to_save)\..*$/, '');
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
