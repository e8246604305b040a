/**
 * The metric of the adapters that clients hold: for each task, every distinct (task, cluster) pair is evaluated once
 * and counts by the samples of the clients that hold it.
 */
import type { MetricName, ScenarioTask } from '../data/scenario.js';
import { exampleCount } from '../engine/examples.js';
import type { Examples } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Log, ProgressHandle } from '../run/log.js';
import type { Bank, Engine } from './engine.js';
import { METRICS, rowsOf, type Evaluated } from './metrics.js';

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

export interface LeadingCluster {
  readonly cluster: number;
  /** bank row that holds its adapter */
  readonly row: number;
  /** share of the task's samples that are with its holders */
  readonly share: number;
  /** distinct adapters that holders of the task have */
  readonly clusters: number;
}

/**
 * Of the adapters that a task's holders have, the one with most of the task's samples behind it (the lowest cluster
 * number of equals); undefined where nobody holds the task.
 */
export function leadingCluster(holdings: readonly Holding[], task: number): LeadingCluster | undefined {
  const pairs = distinctPairs(holdings.filter((holding) => holding.task === task));
  const best = [...pairs].sort((a, b) => b.samples - a.samples || a.cluster - b.cluster)[0];
  if (best === undefined) return undefined;
  const share = best.samples / pairs.reduce((sum, pair) => sum + pair.samples, 0);
  return { cluster: best.cluster, row: best.row, share, clusters: pairs.length };
}

export interface TaskScore {
  readonly task: string;
  /** the scenario's metric of each distinct adapter, weighted by its holders' samples */
  readonly metric: number;
  /** share of the most frequent label of these rows; null for a language model's task */
  readonly majorityFloor: number | null;
  /** mean cross-entropy over all targets, weighted likewise */
  readonly loss: number;
  /** evaluation rows */
  readonly rows: number;
  /** labelled tokens of these rows, where the metric is over tokens */
  readonly tokens?: number;
  /** distinct adapters that holders of the task have */
  readonly adapters: number;
}

/** One evaluated (task, cluster) pair. */
export interface PairResult extends Evaluated {
  readonly task: number;
  readonly cluster: number;
  readonly metric: number;
}

export interface EvaluationOptions {
  engine: Engine;
  bank: Bank;
  tasks: readonly ScenarioTask[];
  metric: MetricName;
  holdings: readonly Holding[];
  /** most evaluation rows of a task, from the first */
  limit: number;
  /** rows of one evaluation batch; of the passes that the engine makes see EvaluateOptions */
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
 * @throws FltacError NON_FINITE for logits or losses that are not finite, SHAPE for a task without evaluation rows, ABORTED
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
  const scored = pairs.map(({ task, cluster }, i): PairResult => {
    const evaluated = { result: results[i]!, labels: examples.get(task)!.labels };
    const what = `task ${options.tasks[task]!.name}, cluster ${cluster}`;
    return { task, cluster, metric: METRICS[options.metric].of(evaluated, options.batchSize, what), ...evaluated };
  });
  return { scores: weighScores(options, pairs, scored), pairs: scored };
}

async function evaluationRows(options: EvaluationOptions, cache: EvaluationCache, index: number): Promise<Examples> {
  const task = options.tasks[index]!;
  let pending = cache.get(task.name);
  if (pending === undefined) {
    pending = task.evalExamples(options.limit);
    cache.set(task.name, pending);
  }
  const examples = await pending;
  if (exampleCount(examples) === 0) throw new FltacError('SHAPE', `task ${task.name} has no evaluation rows`);
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

function weighScores({ tasks, metric }: EvaluationOptions, pairs: readonly Pair[], results: readonly PairResult[]) {
  return tasks.flatMap((task, index): TaskScore[] => {
    const own = pairs.flatMap((pair, i) => (pair.task === index ? [{ pair, evaluated: results[i]! }] : []));
    const first = own[0]?.evaluated;
    if (first === undefined) return [];
    const total = own.reduce((sum, { pair }) => sum + pair.samples, 0);
    const mean = (value: (result: PairResult) => number) =>
      own.reduce((sum, { pair, evaluated }) => sum + (pair.samples / total) * value(evaluated), 0);
    return [
      {
        task: task.name,
        metric: own.length === 1 ? first.metric : mean((of) => of.metric),
        majorityFloor: METRICS[metric].floor(first),
        loss: own.length === 1 ? first.result.loss : mean((of) => of.result.loss),
        rows: rowsOf(first),
        ...METRICS[metric].tokens(first.result),
        adapters: own.length,
      },
    ];
  });
}
