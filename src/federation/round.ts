/**
 * The round loop: local fine-tunes, grouping, averaging, scoring, evaluation. It decides what is done;
 * the executor trains, the server's grouping clusters, and whoever drives it writes the files of docs/file-formats.md.
 */
import type { MetricName, ScenarioTask } from '../data/scenario.js';
import type { AdapterLayout, AdapterSpec, Examples, KmeansMetric, KmeansSpace } from '../engine/types.js';
import type { Log } from '../run/log.js';
import { assertCommonStart, assertNotAborted } from './checks.js';
import type { Bank, Engine } from './engine.js';
import { evaluateHoldings, type EvaluationCache, type Holding, type TaskScore } from './evaluation.js';
import { CohortExecutor, type Executor, type LocalJob, type LocalReport } from './executor.js';
import { METHODS, stepsPerTask, type Method, type MethodName, type StepSplit } from './methods.js';
import { planAdapters, trueTask, type Plan, type PlannedAdapter } from './plan.js';
import { adjustedRandIndex, clusteringAccuracy } from './scoring.js';
import {
  GROUPINGS,
  aggregate,
  kmeansSeed,
  mostClusters,
  type Assignment,
  type Submission,
  type WeightsName,
} from './server.js';
import { streamKey } from './streams.js';

/** The part of a run's configuration that the rounds depend on; RunConfig has these fields. */
export interface FederationSettings {
  readonly method: MethodName;
  readonly seed: number;
  readonly rounds: number;
  readonly localSteps: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly gradientCheckpointing?: boolean;
  readonly batchSize: number;
  readonly evalEvery: number;
  readonly maxEvalBatches: number;
  readonly evalBatchSize: number;
  readonly weights: WeightsName;
  readonly feditSteps: StepSplit;
  readonly kmeansK: number | 'tasks' | 'auto';
  readonly kmeansSpace: KmeansSpace;
  readonly kmeansMetric: KmeansMetric;
  readonly kmeansStandardize: boolean;
  readonly kmeansNInit: number;
  readonly kmeansMaxIter: number;
  readonly kmeansTol: number;
}

export interface FederationOptions {
  engine: Engine;
  spec: AdapterSpec;
  /** in listed order */
  tasks: readonly ScenarioTask[];
  /** what the tasks are measured by */
  metric: MetricName;
  /** rows[client][task] = training rows, tasks as in `tasks` */
  rows: readonly (readonly Int32Array[])[];
  settings: FederationSettings;
  /** most jobs trained in one pass */
  cohort: number;
  /** the common initial adapter; absent: drawn from the seed */
  initial?: Float32Array;
  /** evaluation tokens shared with other federations of the same tasks and row limit */
  cache?: EvaluationCache;
  log: Log;
}

/** Who was grouped with whom in a round, in submission order (client, then listed task). */
export interface RoundAssignment {
  readonly labels: readonly number[];
  readonly trueTasks: readonly string[];
  readonly clients: readonly number[];
  readonly samples: readonly number[];
  /** best one-to-one match of clusters and tasks; null where the method does not cluster by task */
  readonly clusteringAccuracy: number | null;
  readonly ari: number | null;
  readonly inertia: number | null;
  readonly iterations: number | null;
  readonly clusters: number;
  readonly reseeded: number;
  readonly path: string;
  /** how clearly each submission belongs to its cluster; null where nothing was measured */
  readonly margin: readonly number[] | null;
  readonly silhouette: readonly number[] | null;
}

export interface RoundOutcome {
  readonly round: number;
  readonly local: readonly LocalReport[];
  readonly assignment: RoundAssignment;
  /** absent in rounds without evaluation */
  readonly scores?: readonly TaskScore[];
  /** optimiser steps of all clients together */
  readonly optimizerSteps: number;
  /** wall-clock time of the round */
  readonly seconds: number;
}

/** Bytes that clients send in a round: adapters x values x 4. */
export interface Upload {
  /** values of one adapter */
  readonly adapterValues: number;
  readonly bytesPerAdapter: number;
  /** mean and most over clients */
  readonly meanBytes: number;
  readonly mostBytes: number;
  readonly totalBytes: number;
}

/** One federated run in memory. Make it with `create`, call `round` for 1, 2, ..., and `dispose` it. */
export class Federation {
  readonly plan: Plan;
  readonly method: Method;
  readonly #options: FederationOptions;
  readonly #bank: Bank;
  readonly #centres: Bank | undefined;
  readonly #executor: Executor;
  readonly #cache: EvaluationCache;
  readonly #announced = new Set<string>();
  #labels: readonly number[];

  /**
   * Plans the adapters, allocates their bank and puts the common initial state in every row.
   *
   * @throws FltacError USAGE when no client holds data, SHAPE for an `initial` of another length
   */
  static create(options: FederationOptions): Federation {
    const method = METHODS[options.settings.method];
    const plan = planAdapters({
      adapters: method.adapters,
      tasks: options.tasks.map((task) => task.name),
      counts: options.rows.map((client) => client.map((rows) => rows.length)),
      seed: options.settings.seed,
    });
    return new Federation(options, method, plan);
  }

  private constructor(options: FederationOptions, method: Method, plan: Plan) {
    this.#options = options;
    this.method = method;
    this.plan = plan;
    this.#cache = options.cache ?? new Map<string, Promise<Examples>>();
    this.#labels = plan.adapters.map(() => 0);
    const { engine, spec, settings } = options;
    this.#bank = engine.createBank(spec, plan.rows);
    try {
      const most = mostClusters(method.grouping, this.#clusters(), plan.tasks.length, plan.rows);
      this.#centres = method.grouping === 'none' ? undefined : engine.createBank(spec, most);
      this.#start();
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.#executor = new CohortExecutor(engine, this.#bank, { ...settings, cohort: options.cohort });
  }

  get layout(): AdapterLayout {
    return this.#bank.layout;
  }

  /** Rounds that the method takes: none where nothing is trained. */
  get rounds(): number {
    return this.method.adapters === 'none' ? 0 : this.#options.settings.rounds;
  }

  dispose(): void {
    this.#bank.dispose();
    this.#centres?.dispose();
  }

  #start(): void {
    startRow(this.#bank, this.#options.settings.seed);
    if (this.#options.initial !== undefined) this.#bank.set(0, this.#options.initial);
    for (let row = 1; row < this.plan.rows; row += 1) this.#bank.copy(0, row);
    assertCommonStart(this.#bank);
  }

  /**
   * One whole round. When it fails the federation's state is undefined: nothing of the round may be kept.
   *
   * @throws FltacError ABORTED, NON_FINITE, INTERNAL (a self-check failed)
   */
  async round(round: number, signal?: AbortSignal): Promise<RoundOutcome> {
    const started = performance.now();
    const jobs = this.plan.adapters.map((adapter) => this.#job(adapter));
    const steps = jobs.flatMap((job) => job.parts).reduce((sum, part) => sum + part.steps, 0);
    const bar = this.#options.log.progress(`round ${round}/${this.rounds} training`, steps);
    const { submissions, reports } = await this.#executor
      .run(round, jobs, { signal, onProgress: (done) => bar.update(done) })
      .finally(() => bar.done());
    assertNotAborted(signal);
    const assignment = await this.#group(round, submissions, signal);
    assertNotAborted(signal);
    await this.#aggregate(round, submissions, assignment);
    const recorded = this.#record(submissions, assignment);
    this.#labels = recorded.labels;
    const scores = this.#evaluatesAt(round) ? await this.evaluate(signal) : undefined;
    return {
      round,
      local: reports,
      assignment: recorded,
      ...(scores === undefined ? {} : { scores }),
      optimizerSteps: steps,
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Evaluates the adapters that clients hold now; before the first round that is the common initial adapter. */
  async evaluate(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    const { engine, tasks, metric, settings, log } = this.#options;
    const limit = settings.maxEvalBatches * settings.evalBatchSize;
    const { scores } = await evaluateHoldings({
      engine,
      bank: this.#bank,
      tasks,
      metric,
      holdings: this.holdings(),
      limit,
      batchSize: settings.evalBatchSize,
      cache: this.#cache,
      signal,
      log,
    });
    return scores;
  }

  /** What each client holds for each of its tasks now. */
  holdings(): Holding[] {
    return holdingsOf(this.plan, this.#labels, (adapter) => adapter.row);
  }

  /** The adapter of each cluster now, layout.size values each, in the order of the labels. */
  clusterStates(): Map<number, Float32Array> {
    const rows = new Map(this.plan.adapters.map((adapter, i) => [this.#labels[i]!, adapter.row]));
    return new Map([...rows].sort(([a], [b]) => a - b).map(([label, row]) => [label, this.#bank.get(row)]));
  }

  /** The assignment that holds before any round: all submissions share the one initial adapter. */
  initialAssignment(): RoundAssignment {
    return {
      ...this.#submissionColumns(),
      labels: this.plan.adapters.map(() => 0),
      clusteringAccuracy: null,
      ari: null,
      inertia: null,
      iterations: null,
      clusters: 1,
      reseeded: 0,
      path: 'initial',
      margin: null,
      silhouette: null,
    };
  }

  /** Bytes that clients send up in a round. */
  upload(): Upload {
    const adapterValues = this.layout.size;
    const bytesPerAdapter = adapterValues * Float32Array.BYTES_PER_ELEMENT;
    const counts = new Array<number>(this.plan.nClients).fill(0);
    if (this.rounds > 0) for (const adapter of this.plan.adapters) counts[adapter.client]! += 1;
    const total = counts.reduce((sum, count) => sum + count, 0);
    return {
      adapterValues,
      bytesPerAdapter,
      meanBytes: (total * bytesPerAdapter) / counts.length,
      mostBytes: Math.max(...counts) * bytesPerAdapter,
      totalBytes: total * bytesPerAdapter,
    };
  }

  #evaluatesAt(round: number): boolean {
    return round % this.#options.settings.evalEvery === 0 || round === this.rounds;
  }

  #job(adapter: PlannedAdapter): LocalJob {
    const { tasks, rows, settings } = this.#options;
    const steps = stepsPerTask(this.method.adapters, settings.feditSteps, settings.localSteps, adapter.parts.length);
    const { client, slot, row, samples } = adapter;
    const parts = adapter.parts.map(({ task }) => ({ task: tasks[task]!, rows: rows[client]![task]!, steps }));
    return { client, slot, row, samples, parts };
  }

  async #group(round: number, submissions: readonly Submission[], signal?: AbortSignal): Promise<Assignment> {
    const grouping = GROUPINGS[this.method.grouping];
    if (grouping.sees === 'truth') return grouping.group(submissions.map((submission) => this.#truthOf(submission)));
    const { engine, settings } = this.#options;
    return grouping.group({
      engine,
      bank: this.#bank,
      submissions,
      k: this.#clusters(),
      kmeans: {
        nInit: settings.kmeansNInit,
        maxIter: settings.kmeansMaxIter,
        tol: settings.kmeansTol,
        space: settings.kmeansSpace,
        metric: settings.kmeansMetric,
        standardize: settings.kmeansStandardize,
      },
      seed: kmeansSeed(settings.seed, round),
      signal,
      announce: (message) => this.#announce(message),
    });
  }

  /** Clusters that K-means is asked for. */
  #clusters(): number | 'auto' {
    const { kmeansK } = this.#options.settings;
    return kmeansK === 'tasks' ? this.plan.tasks.length : kmeansK;
  }

  async #aggregate(round: number, submissions: readonly Submission[], assignment: Assignment): Promise<void> {
    if (this.#centres === undefined) return;
    const { weights } = this.#options.settings;
    await aggregate({ bank: this.#bank, centres: this.#centres, submissions, assignment, weights, round });
  }

  #truthOf(submission: Submission): number {
    const own = (adapter: PlannedAdapter) => adapter.client === submission.client && adapter.slot === submission.slot;
    return this.plan.adapters.find(own)!.parts[0]!.task;
  }

  #record(submissions: readonly Submission[], assignment: Assignment): RoundAssignment {
    const byRow = new Map(submissions.map((submission, i) => [submission.row, i]));
    const inOrder = (values: Int32Array | Float64Array) =>
      this.plan.adapters.map((adapter) => values[byRow.get(adapter.row)!]!);
    const labels = inOrder(assignment.labels);
    const columns = this.#submissionColumns();
    const { scored } = GROUPINGS[this.method.grouping];
    const { inertia, iterations, clusters, reseeded, path } = assignment;
    return {
      ...columns,
      labels,
      clusteringAccuracy: scored ? clusteringAccuracy(labels, columns.trueTasks) : null,
      ari: scored ? adjustedRandIndex(labels, columns.trueTasks) : null,
      inertia,
      iterations,
      clusters,
      reseeded,
      path,
      margin: assignment.margin && inOrder(assignment.margin),
      silhouette: assignment.silhouette && inOrder(assignment.silhouette),
    };
  }

  #submissionColumns(): Pick<RoundAssignment, 'trueTasks' | 'clients' | 'samples'> {
    const { adapters } = this.plan;
    return {
      trueTasks: adapters.map((adapter) => trueTask(this.plan, adapter)),
      clients: adapters.map((adapter) => adapter.client),
      samples: adapters.map((adapter) => adapter.samples),
    };
  }

  #announce(message: string): void {
    if (this.#announced.has(message)) return;
    this.#announced.add(message);
    this.#options.log.warn(message);
  }
}

/** Draws row 0 of a run's bank, and its frozen head where the head is not trained. */
export function startRow(bank: Bank, seed: number): void {
  bank.initialise(0, streamKey(seed, 'initial'));
}

/**
 * What each client holds for each of its tasks when submission i of the plan is in cluster `labels[i]`.
 *
 * @param rowOf bank row that holds the adapter of a planned adapter and its label
 */
export function holdingsOf(
  plan: Plan,
  labels: readonly number[],
  rowOf: (adapter: PlannedAdapter, label: number) => number,
): Holding[] {
  return plan.adapters.flatMap((adapter, i) =>
    adapter.parts.map(({ task, samples }) => {
      const cluster = labels[i]!;
      return { task, cluster, row: rowOf(adapter, cluster), samples };
    }),
  );
}
