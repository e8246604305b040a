/**
 * What `fltac bench train` writes: the same local fine-tunes by fltac and by peers, in turn, each in a process of its own.
 * Pure arithmetic over measured runs; nothing here measures.
 */

import { statistics } from './statistics.js';

/** Least, median and most of several runs. */
export interface Spread {
  least: number;
  median: number;
  most: number;
}

export interface TrainReport {
  schema: 'fltac.bench.train/1';
  /** ISO 8601 */
  created: string;
  machine: TrainMachine;
  model: TrainModel;
  work: TrainWork;
  /** fltac first, then each peer that ran */
  sides: readonly TrainSide[];
  /** peers that were asked for and could not run */
  absent: readonly AbsentPeer[];
  /** losses without any dropout, step by step, of each peer against fltac; empty where they were not asked for */
  agreement: readonly LossAgreement[];
}

export interface TrainMachine {
  cpu: string;
  /** that this process may use */
  cores: number;
  memoryBytes: number;
  platform: string;
  node: string;
  fltac: string;
  /** the best float32 matrix product that libtorch reached with `work.threads` threads, FLOP/s; null where the work is no CPU's */
  gemmFlops: number | null;
  /**
   * as the benchmark began: processes that ran or waited for a core in the minute before, and the cores that all of the
   * machine has; 0 where the system does not count them
   */
  load: { average: number; cores: number };
}

export interface TrainModel {
  /** as configured, without the folders of a local path */
  id: string;
  family: string;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  /** of the backbone, without a head */
  parameters: number;
  /** made on the spot: right for speed and for comparing losses, of no use otherwise */
  randomWeights: boolean;
}

export interface TrainWork {
  scenario: string;
  /** step s of all steps is of task s modulo their number */
  tasks: readonly string[];
  /** trained independently of each other, each from the same initial state */
  adapters: number;
  /** optimiser steps of each adapter */
  steps: number;
  batchSize: number;
  maxLen: number;
  rank: number;
  loraAlpha: number;
  loraDropout: number;
  targetModules: readonly string[];
  lr: number;
  seed: number;
  /** of fltac's weights and of the peer's autocast; "float32" is no autocast */
  dtype: string;
  threads: number;
  /** most adapters that fltac trains in one pass */
  cohort: number;
  /** timed runs of each side, after one that is not timed */
  repeat: number;
  /** in one run of all steps of all adapters */
  examples: number;
  /** real tokens of one run, without padding */
  tokens: number;
  /** floating-point operations that one run needs, nothing twice and no padding; null where they are not counted */
  flops: number | null;
}

/** One implementation with its way of making batches. */
export interface TrainSide {
  name: 'fltac' | 'peft';
  /** what batches are filled up to; fltac fills nothing up */
  padding: 'none' | 'longest' | 'max_len';
  /** versions of what it is made of */
  versions: Readonly<Record<string, string>>;
  /** wall-clock time of one run, s */
  seconds: Spread;
  /** CPU time in user mode of one run, median, s */
  cpuSeconds: number;
  /** tokens of one run that products are computed of, padding included */
  computedTokens: number;
  examplesPerSecond: number;
  /** real ones */
  tokensPerSecond: number;
  /** work.flops / (seconds x machine.gemmFlops), by the median */
  flopUtilisation: number | null;
  /** most resident memory of the process (VmHWM) up to the end of the timed runs; null where the system does not tell */
  peakBytes: number | null;
  /** median over rounds of this side's time divided by fltac's in the same round; null of fltac itself */
  ratio: number | null;
  /** the same of CPU time */
  cpuRatio: number | null;
}

export interface AbsentPeer {
  name: string;
  /** one sentence: why it did not run */
  reason: string;
  /** what to do */
  remedy: string;
}

/** Losses of a peer beside fltac's: the same initial adapter and batches, no dropout anywhere. */
export interface LossAgreement {
  peer: 'peft';
  padding: 'longest' | 'max_len';
  steps: number;
  ours: readonly number[];
  theirs: readonly number[];
  /** most |ours - theirs| over the steps */
  largestDifference: number;
  /** what it may be at this dtype; float errors grow with every AdamW step */
  tolerance: number;
  agrees: boolean;
}

/** One timed run of all work by one side. */
export interface TimedRun {
  seconds: number;
  cpuSeconds: number;
}

/** A side's timed runs, one a round; the same round of all sides was run one after another. */
export interface MeasuredSide extends Pick<
  TrainSide,
  'name' | 'padding' | 'versions' | 'computedTokens' | 'peakBytes'
> {
  runs: readonly TimedRun[];
}

/**
 * Makes the report's sides. A ratio is taken within each round and the median of these told, so that what slows the
 * machine for a while slows both sides of a ratio.
 *
 * @param measured fltac's side first; all with the same number of runs, at least one
 */
export function summariseSides(
  measured: readonly MeasuredSide[],
  work: Pick<TrainWork, 'examples' | 'tokens' | 'flops'>,
  gemmFlops: number | null,
): TrainSide[] {
  const ours = measured[0]!.runs;
  return measured.map(({ runs, ...side }, index): TrainSide => {
    const seconds = statistics(runs.map((run) => run.seconds));
    const ratioOf = (value: (run: TimedRun) => number) =>
      index === 0 ? null : statistics(runs.map((run, round) => value(run) / value(ours[round]!))).median;
    return {
      ...side,
      seconds,
      cpuSeconds: statistics(runs.map((run) => run.cpuSeconds)).median,
      examplesPerSecond: work.examples / seconds.median,
      tokensPerSecond: work.tokens / seconds.median,
      flopUtilisation: work.flops === null || gemmFlops === null ? null : work.flops / (seconds.median * gemmFlops),
      ratio: ratioOf((run) => run.seconds),
      cpuRatio: ratioOf((run) => run.cpuSeconds),
    };
  });
}

/**
 * How far losses may lie apart after some tens of AdamW steps. In float32 they differ by rounding alone; AdamW divides a
 * gradient by its own size, so where one is near zero its rounding error becomes a step of full size. In bfloat16 both
 * sides round to 8 bits at other places (PEFT's autocast keeps float32 weights), so only the course is comparable.
 */
const LOSS_TOLERANCE: Readonly<Record<string, number>> = { float32: 1e-3 };
const HALF_TOLERANCE = 5e-2;

/** @param ours losses of the same steps as `theirs` */
export function compareLosses(
  side: Pick<LossAgreement, 'peer' | 'padding'>,
  dtype: string,
  ours: readonly number[],
  theirs: readonly number[],
): LossAgreement {
  const gaps = ours.map((loss, step) => Math.abs(loss - (theirs[step] ?? NaN)));
  const tolerance = LOSS_TOLERANCE[dtype] ?? HALF_TOLERANCE;
  // Not Math.max alone: NaN must not pass.
  const agrees = ours.length === theirs.length && gaps.every((gap) => gap <= tolerance);
  return { ...side, steps: ours.length, ours, theirs, largestDifference: Math.max(...gaps), tolerance, agrees };
}
