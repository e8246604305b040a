/**
 * The metric of the adapters that clients hold: for each task, every distinct (task, cluster) pair is evaluated once
 * and counts by the samples of the clients that hold it.
 */
import type { ScenarioTask } from '../data/scenario.js';
import type { Examples } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Log, ProgressHandle } from '../run/log.js';
import type { Bank, Engine } from './engine.js';

/** One client's adapter for one task. */
export interface Holding {
  /** index into the evaluated tasks */
  readonly task: number;
  /** cluster that the adapter came from; holdings of one cluster hold equal adapters */
  readonly cluster: number;
  /** bank row that holds it */
  readonly row: number;
  /** the client's training rows of the task */
  readonly samples: number;
}

export interface TaskScore {
  readonly task: string;
  /** accuracy of each distinct adapter, weighted by its holders' samples */
  readonly metric: number;
  /** mean cross-entropy, weighted likewise */
  readonly loss: number;
  /** evaluation rows */
  readonly rows: number;
  /** distinct adapters that holders of the task have */
  readonly adapters: number;
}

/** One evaluated (task, cluster) pair. */
export interface PairResult {
  readonly task: number;
  readonly cluster: number;
  /** share of rows whose largest logit is at the label */
  readonly accuracy: number;
  readonly loss: number;
  readonly labels: Int32Array;
  /** [rows, classes] row-major */
  readonly logits: Float32Array;
  readonly classes: number;
}

export interface EvaluationOptions {
  engine: Engine;
  bank: Bank;
  tasks: readonly ScenarioTask[];
  holdings: readonly Holding[];
  /** most evaluation rows of a task, from the first */
  limit: number;
  batchSize: number;
  log: Log;
  signal?: AbortSignal | undefined;
  /** keeps tokens between evaluations of one run */
  cache?: EvaluationCache;
}

/** Evaluation tokens by task name, for one row limit. */
export type EvaluationCache = Map<string, Promise<Examples>>;

export interface Evaluation {
  /** in the order of `tasks`, tasks that nobody holds left out */
  scores: readonly TaskScore[];
  /** by task, then cluster */
  pairs: readonly PairResult[];
}

interface Pair {
  task: number;
  cluster: number;
  row: number;
  samples: number;
}

/**
 * Evaluates what the holders hold.
 *
 * @throws FltacError NON_FINITE for logits that are not finite, SHAPE for a task without evaluation rows, ABORTED
 */
export async function evaluateHoldings(options: EvaluationOptions): Promise<Evaluation> {
  const pairs = distinctPairs(options.holdings);
  const cache: EvaluationCache = options.cache ?? new Map<string, Promise<Examples>>();
  const examples = new Map<number, Examples>();
  for (const { task } of pairs) {
    if (!examples.has(task)) examples.set(task, await evaluationRows(options, cache, task));
  }
  let bar: ProgressHandle | undefined;
  const results = await options.engine
    .evaluate(
      options.bank,
      pairs.map((pair) => ({ row: pair.row, examples: examples.get(pair.task)! })),
      {
        batchSize: options.batchSize,
        signal: options.signal,
        onProgress(done, total) {
          bar ??= options.log.progress('evaluation', total);
          bar.update(done);
        },
      },
    )
    .finally(() => bar?.done());
  const scored = pairs.map((pair, i): PairResult => {
    const { labels } = examples.get(pair.task)!;
    const { logits, loss } = results[i]!;
    const what = `task ${options.tasks[pair.task]!.name}, cluster ${pair.cluster}`;
    return { task: pair.task, cluster: pair.cluster, loss, labels, logits, ...accuracyOf(logits, labels, what) };
  });
  return { scores: weighScores(options.tasks, pairs, scored), pairs: scored };
}

async function evaluationRows(options: EvaluationOptions, cache: EvaluationCache, index: number): Promise<Examples> {
  const task = options.tasks[index]!;
  let pending = cache.get(task.name);
  if (pending === undefined) {
    pending = task.evalExamples(options.limit);
    cache.set(task.name, pending);
  }
  const examples = await pending;
  if (examples.labels.length === 0) throw new FltacError('SHAPE', `task ${task.name} has no evaluation rows`);
  return examples;
}

/** By task, then cluster; the first holder's row stands for the pair. */
function distinctPairs(holdings: readonly Holding[]): Pair[] {
  const pairs = new Map<string, Pair>();
  for (const { task, cluster, row, samples } of holdings) {
    const key = `${task}/${cluster}`;
    const pair = pairs.get(key);
    if (pair === undefined) pairs.set(key, { task, cluster, row, samples });
    else pair.samples += samples;
  }
  return [...pairs.values()].sort((a, b) => a.task - b.task || a.cluster - b.cluster);
}

function weighScores(tasks: readonly ScenarioTask[], pairs: readonly Pair[], results: readonly PairResult[]) {
  return tasks.flatMap((task, index): TaskScore[] => {
    const own = pairs.flatMap((pair, i) => (pair.task === index ? [{ pair, result: results[i]! }] : []));
    if (own.length === 0) return [];
    const total = own.reduce((sum, { pair }) => sum + pair.samples, 0);
    const mean = (value: (result: PairResult) => number) =>
      own.reduce((sum, { pair, result }) => sum + (pair.samples / total) * value(result), 0);
    return [
      {
        task: task.name,
        metric: own.length === 1 ? own[0]!.result.accuracy : mean((result) => result.accuracy),
        loss: own.length === 1 ? own[0]!.result.loss : mean((result) => result.loss),
        rows: own[0]!.result.labels.length,
        adapters: own.length,
      },
    ];
  });
}

/** Index of the largest of `classes` logits of one row; the first of equals, as torch's argmax. */
export function predictionOf(logits: Float32Array, row: number, classes: number): number {
  let best = 0;
  for (let c = 1; c < classes; c += 1) {
    if (logits[row * classes + c]! > logits[row * classes + best]!) best = c;
  }
  return best;
}

function accuracyOf(logits: Float32Array, labels: Int32Array, what: string): { accuracy: number; classes: number } {
  const bad = logits.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new FltacError('NON_FINITE', `a logit of ${what} is ${logits[bad]!}: the training diverged`);
  const classes = logits.length / labels.length;
  let right = 0;
  labels.forEach((label, row) => {
    if (predictionOf(logits, row, classes) === label) right += 1;
  });
  return { accuracy: right / labels.length, classes };
}
