/**
 * The round loop: local fine-tunes, grouping, averaging, scoring, evaluation. It decides what is done;
 * the executor trains, the server's grouping clusters, and whoever drives it writes the files of docs/file-formats.md.
 */
import type { MetricName, ScenarioTask } from '../data/scenario.js';
import type { AdapterLayout, AdapterSpec, Examples, KmeansMetric, KmeansSpace, ProductMeans } from '../engine/types.js';
import type { Log } from '../run/log.js';
import { FltacError } from '../errors.js';
import { aggregationOf, leavesEqual, type Aggregation, type AggregationName } from './aggregation.js';
import { assertClusters, assertCommonStart, assertNotAborted, type MeansProof } from './checks.js';
import { Line, type ClientTraffic, type UploadFormatName } from './communication.js';
import type { Bank, Engine } from './engine.js';
import { evaluateHoldings, type EvaluationCache, type Holding, type PairResult, type TaskScore } from './evaluation.js';
import { measureGeometry, type Geometry } from './geometry.js';
import {
  CohortExecutor,
  type Executor,
  type ExecutorResult,
  type FailurePolicy,
  type LocalFailure,
  type LocalJob,
  type LocalReport,
  type LocalStore,
} from './executor.js';
import { heldAfter, holdingsOf } from './held.js';
import { METHODS, stepsPerTask, type Method, type MethodName, type StepSettings } from './methods.js';
import {
  drawParticipants,
  participationOf,
  stepsDone,
  type ParticipationSettings,
  type Participants,
} from './participation.js';
import { planAdapters, trueTask, type Plan, type PlannedAdapter } from './plan.js';
import { adjustedRandIndex, clusteringAccuracy } from './scoring.js';
import {
  GROUPINGS,
  aggregate,
  type Averaged,
  kmeansSeed,
  mostClusters,
  type Assignment,
  type Submission,
  type WeightsName,
} from './server.js';
import { streamKey } from './streams.js';
import { findOutliers, type Outlier } from './outliers.js';
import { clipUpdate, updateOf, type Update } from './updates.js';

/** The part of a run's configuration that the rounds depend on; RunConfig has these fields. */
export interface FederationSettings extends StepSettings, ParticipationSettings {
  readonly method: MethodName;
  readonly rounds: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly gradientCheckpointing?: boolean;
  readonly batchSize: number;
  readonly evalEvery: number;
  readonly maxEvalBatches: number;
  readonly evalBatchSize: number;
  readonly weights: WeightsName;
  readonly aggregation: AggregationName;
  readonly uploadFormat: UploadFormatName;
  /** fewest clients whose results make a round; with fewer all keep what they held */
  readonly minClients: number;
  readonly onClientFailure: FailurePolicy;
  readonly kmeansK: number | 'tasks' | 'auto';
  readonly kmeansSpace: KmeansSpace;
  readonly kmeansMetric: KmeansMetric;
  readonly kmeansStandardize: boolean;
  readonly kmeansNInit: number;
  readonly kmeansMaxIter: number;
  readonly kmeansTol: number;
  /** most submissions of a round whose distances are measured; absent or 0 measures none */
  readonly recordDistances?: number;
  /** longest update that counts whole; longer ones are shortened to it; null or absent bounds none */
  readonly maxUpdateNorm?: number | null;
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
  /** takes the adapters of a round as they were sent, in submission order, before they are grouped */
  keepSubmissions?: (round: number, adapters: readonly SentAdapter[]) => Promise<void>;
  /** evaluation tokens shared with other federations of the same tasks and row limit */
  cache?: EvaluationCache;
  log: Log;
}

/** An adapter as a client sent it. */
export interface SentAdapter {
  readonly client: number;
  readonly trueTask: string;
  /** layout.size values */
  readonly values: Float32Array;
}

/** Who was grouped with whom in a round: its submissions, by client, then listed task. */
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
  /** length of what each submission changed of what its client had received, before any shortening */
  readonly updateNorms: readonly number[];
  /** indices of the submissions that were shortened to the norm bound */
  readonly clipped: readonly number[];
  readonly outliers: readonly Outlier[];
}

/** What a round found true of itself; what is not true stops it. */
export interface RoundProof {
  /** tensors that training moved, of all adapters together */
  readonly movedTensors: number;
  /** members of each cluster */
  readonly clusterSizes: readonly number[];
  /** absent where nothing was averaged */
  readonly means?: MeansProof;
}

/** Who took part in a round. */
export interface RoundClients {
  /** that were asked */
  readonly selected: readonly number[];
  /** of these, whose results did not arrive */
  readonly dropped: readonly number[];
  /** that did a part of their local steps only */
  readonly stragglers: readonly number[];
  /** whose training diverged */
  readonly failed: readonly LocalFailure[];
  /** false where too few results arrived: then all clients keep what they held */
  readonly aggregated: boolean;
  /** whether every client with data took its whole part */
  readonly everyone: boolean;
}

export interface RoundOutcome {
  readonly round: number;
  /** of the clients whose results arrived */
  readonly local: readonly LocalReport[];
  readonly clients: RoundClients;
  readonly assignment: RoundAssignment;
  /** where the submissions lay before they were averaged; absent where it is not measured */
  readonly geometry?: Geometry;
  /** absent in rounds without evaluation */
  readonly scores?: readonly TaskScore[];
  /** of the factors' averages; null where nothing was averaged */
  readonly products: ProductMeans | null;
  /** of the clients whose results arrived; none where the method sends nothing */
  readonly traffic: readonly ClientTraffic[];
  /** optimiser steps of all clients together */
  readonly optimizerSteps: number;
  readonly proof: RoundProof;
  /** wall-clock time of the round */
  readonly seconds: number;
}

/** What a federation is between two rounds, besides its settings: all that later rounds depend on. */
export interface FederationState {
  /** number of the adapter that each planned one is, in submission order; numbers from 0 up without gaps */
  readonly held: readonly number[];
  /** float32 vectors that last over rounds, by name; `adapters` has one of layout.size values for each number held */
  readonly vectors: ReadonlyMap<string, readonly Float32Array[]>;
}

const ADAPTERS = 'adapters';
/** the line's, by bank row */
const RESIDUALS = 'upload_residuals';

/** Bytes that clients send in a round: adapters x bytes of one in the upload format. */
export interface Upload {
  /** values of one adapter */
  readonly adapterValues: number;
  readonly bytesPerAdapter: number;
  /** mean and most over clients, for one that takes part */
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
  readonly #aggregation: Aggregation;
  readonly #line: Line;
  readonly #executor: Executor;
  readonly #cache: EvaluationCache;
  readonly #announced = new Set<string>();
  /** number of the adapter that each planned one is now; equal numbers mean equal adapters */
  #held: readonly number[];

  /**
   * Plans the adapters, allocates their bank and puts the common initial state in every row.
   *
   * @throws FltacError USAGE when no client holds data, SHAPE for an `initial` of another length
   */
  static create(options: FederationOptions): Federation {
    const method = METHODS[options.settings.method];
    const plan = planAdapters({
      adapters: method.adapters,
      data: method.data,
      tasks: options.tasks.map((task) => task.name),
      counts: options.rows.map((client) => client.map((rows) => rows.length)),
      seed: options.settings.seed,
    });
    const settings = { ...options.settings, ...participationOf(method, options.settings) };
    return new Federation({ ...options, settings }, method, plan);
  }

  private constructor(options: FederationOptions, method: Method, plan: Plan) {
    this.#options = options;
    this.method = method;
    this.plan = plan;
    this.#cache = options.cache ?? new Map<string, Promise<Examples>>();
    this.#held = plan.adapters.map(() => 0);
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
    this.#aggregation = aggregationOf(method.grouping, settings.aggregation);
    this.#line = new Line(
      this.layout,
      method.grouping === 'none' ? 'float32' : settings.uploadFormat,
      this.#aggregation,
    );
    this.#executor = new CohortExecutor(engine, this.#bank, {
      ...settings,
      cohort: options.cohort,
      freezesA: this.#aggregation.freezesA,
    });
  }

  get layout(): AdapterLayout {
    return this.#bank.layout;
  }

  /** Whether those of one cluster hold equal adapters; otherwise each submission has a number of its own in `held`. */
  get membersEqual(): boolean {
    return leavesEqual(this.#aggregation);
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
    this.#startRow(this.#bank);
    for (let row = 1; row < this.plan.rows; row += 1) this.#bank.copy(0, row);
    assertCommonStart(this.#bank);
  }

  /** Puts the common initial state in row 0. */
  #startRow(bank: Bank): void {
    startRow(bank, this.#options.settings.seed);
    if (this.#options.initial !== undefined) bank.set(0, this.#options.initial);
  }

  /** Copies what later rounds depend on. */
  state(): FederationState {
    return {
      held: this.#held,
      vectors: new Map([
        [ADAPTERS, [...this.clusterStates().values()]],
        ...(this.#line.lossy ? [[RESIDUALS, this.#line.residuals(this.plan.rows)] as const] : []),
      ]),
    };
  }

  /**
   * Goes back to a state of this plan.
   *
   * @throws FltacError SHAPE for a state of another one
   */
  restore({ held, vectors }: FederationState): void {
    const adapters = vectors.get(ADAPTERS) ?? [];
    const { size } = this.layout;
    if (held.length !== this.plan.adapters.length || !held.every((number) => adapters[number]?.length === size)) {
      throw new FltacError(
        'SHAPE',
        `a saved state of ${held.length} held adapters (${adapters.length} distinct ones of ` +
          `${adapters[0]?.length ?? 0} values) is not one of this run's ${this.plan.adapters.length} of ${size} values`,
      );
    }
    this.#line.restore(vectors.get(RESIDUALS) ?? [], this.plan.rows);
    this.plan.adapters.forEach(({ row }, i) => this.#bank.set(row, adapters[held[i]!]!));
    this.#held = held;
  }

  /**
   * One whole round. When it fails the federation's state is undefined: nothing of the round may be kept but what
   * `store` was given.
   *
   * @param store keeps finished local work while the round is not complete
   * @throws FltacError ABORTED, NON_FINITE, INTERNAL (a self-check failed)
   */
  async round(round: number, signal?: AbortSignal, store?: LocalStore): Promise<RoundOutcome> {
    const started = performance.now();
    const { settings } = this.#options;
    const holders = [...new Set(this.plan.adapters.map((adapter) => adapter.client))];
    const participants = drawParticipants(settings, holders, round);
    const before = this.state();
    const { steps, submissions, reports, failures } = await this.#train(round, participants, signal, store);
    assertNotAborted(signal);
    const arrived = new Set(submissions.map((submission) => submission.client)).size;
    const aggregated = arrived >= settings.minClients;
    const received = aggregated ? submissions : [];
    this.#giveBack(before, received);
    const clients = this.#clients(participants, failures, aggregated, holders.length);
    this.#tell(round, clients, arrived);
    if (aggregated) this.#line.send(this.#bank, received);
    const updates = this.#bound(round, before, received);
    if (received.length > 0) await this.#options.keepSubmissions?.(round, this.#sent(received));
    const assignment = aggregated ? await this.#group(round, received, signal) : SKIPPED;
    assertNotAborted(signal);
    const clusterSizes = assertClusters(assignment, received.length, round);
    const geometry = await this.#measure(received, signal);
    const averaged = aggregated ? await this.#aggregate(round, received, assignment) : undefined;
    const recorded = this.#record(received, assignment, updates, geometry);
    this.#tellOutliers(round, recorded);
    const scores = this.#evaluatesAt(round) ? await this.evaluate(signal) : undefined;
    return {
      round,
      local: reports,
      clients,
      assignment: recorded,
      products: averaged?.products ?? null,
      traffic: this.method.grouping === 'none' ? [] : this.#line.traffic(submissions, aggregated),
      ...(geometry === undefined ? {} : { geometry }),
      ...(scores === undefined ? {} : { scores }),
      optimizerSteps: steps,
      proof: {
        movedTensors: updates.reduce((sum, { movedTensors }) => sum + movedTensors, 0),
        clusterSizes,
        ...(averaged === undefined ? {} : { means: averaged.means }),
      },
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Local work of those that take part, or none where too few do. */
  async #train(
    round: number,
    { selected, dropped, stragglers }: Participants,
    signal: AbortSignal | undefined,
    store: LocalStore | undefined,
  ): Promise<ExecutorResult & { steps: number }> {
    const clients = new Set(selected.filter((client) => !dropped.includes(client)));
    if (clients.size < this.#options.settings.minClients) {
      return { steps: 0, submissions: [], reports: [], failures: [] };
    }
    const jobs = this.plan.adapters
      .filter(({ client }) => clients.has(client))
      .map((adapter) => this.#job(adapter, stragglers.get(adapter.client)));
    this.#line.begin(
      this.#bank,
      jobs.map((job) => job.row),
    );
    const steps = jobs.flatMap((job) => job.parts).reduce((sum, part) => sum + part.steps, 0);
    const bar = this.#options.log.progress(`round ${round}/${this.rounds} training`, steps);
    const result = await this.#executor
      .run(round, jobs, { signal, store, onProgress: (done) => bar.update(done) })
      .finally(() => bar.done());
    return { ...result, steps };
  }

  /** Gives the clients whose results do not count in this round the adapters back that they held before it. */
  #giveBack({ held, vectors }: FederationState, received: readonly Submission[]): void {
    const rows = new Set(received.map((submission) => submission.row));
    this.plan.adapters.forEach(({ row }, i) => {
      if (!rows.has(row)) this.#bank.set(row, vectors.get(ADAPTERS)![held[i]!]!);
    });
  }

  #clients(
    { selected, dropped, stragglers }: Participants,
    failed: readonly LocalFailure[],
    aggregated: boolean,
    holders: number,
  ): RoundClients {
    const everyone = selected.length === holders && dropped.length + stragglers.size + failed.length === 0;
    return { selected, dropped, stragglers: [...stragglers.keys()], failed, aggregated, everyone };
  }

  #tell(round: number, { failed, aggregated }: RoundClients, arrived: number): void {
    for (const { client, reason } of failed) {
      this.#options.log.warn(`client ${client} is left out of round ${round} and keeps its adapters: ${reason}`);
    }
    if (aggregated) return;
    this.#options.log.warn(
      `round ${round}: results of ${arrived} clients arrived, min_clients is ${this.#options.settings.minClients}: ` +
        'nothing is averaged, and all clients keep what they held',
    );
  }

  /** Evaluates the adapters that clients hold now. */
  async evaluate(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    return this.#evaluate(this.#bank, this.holdings(), signal);
  }

  /** Evaluates the common initial adapter, whatever has been trained since. */
  async evaluateInitial(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    const { engine, spec } = this.#options;
    const bank = engine.createBank(spec, 1);
    try {
      this.#startRow(bank);
      const labels = this.plan.adapters.map(() => 0);
      return await this.#evaluate(
        bank,
        holdingsOf(this.plan, labels, () => 0),
        signal,
      );
    } finally {
      bank.dispose();
    }
  }

  async #evaluate(bank: Bank, holdings: readonly Holding[], signal?: AbortSignal): Promise<readonly TaskScore[]> {
    const { engine, tasks, metric, settings, log } = this.#options;
    const limit = settings.maxEvalBatches * settings.evalBatchSize;
    const { scores } = await evaluateHoldings({
      engine,
      bank,
      tasks,
      metric,
      holdings,
      limit,
      batchSize: settings.evalBatchSize,
      cache: this.#cache,
      signal,
      log,
    });
    return scores;
  }

  /**
   * What clients hold, evaluated on each task's first batch of rows.
   *
   * @param states adapters to take in place of those in memory, by cluster, layout.size values each
   */
  async probe(states?: ReadonlyMap<number, Float32Array>, signal?: AbortSignal): Promise<readonly PairResult[]> {
    const { engine, spec, tasks, metric, settings, log } = this.#options;
    const options = {
      engine,
      tasks,
      metric,
      limit: settings.evalBatchSize,
      batchSize: settings.evalBatchSize,
      signal,
      log,
    };
    if (states === undefined) {
      return (await evaluateHoldings({ ...options, bank: this.#bank, holdings: this.holdings() })).pairs;
    }
    const clusters = [...states.keys()];
    const bank = engine.createBank(spec, clusters.length);
    try {
      startRow(bank, settings.seed);
      [...states.values()].forEach((state, row) => bank.set(row, state));
      const holdings = holdingsOf(this.plan, this.#held, (_, number) => clusters.indexOf(number));
      return (await evaluateHoldings({ ...options, bank, holdings })).pairs;
    } finally {
      bank.dispose();
    }
  }

  /** What each client holds for each of its tasks now. */
  holdings(): Holding[] {
    return holdingsOf(this.plan, this.#held, (adapter) => adapter.row);
  }

  /** Number of the adapter that each planned one is now: its cluster's label, or above those an older one. */
  get held(): readonly number[] {
    return this.#held;
  }

  /** Each adapter that is held now, layout.size values each, in the order of the numbers. */
  clusterStates(): Map<number, Float32Array> {
    const rows = new Map(this.plan.adapters.map((adapter, i) => [this.#held[i]!, adapter.row]));
    return new Map([...rows].sort(([a], [b]) => a - b).map(([label, row]) => [label, this.#bank.get(row)]));
  }

  /** The assignment that holds before any round: all submissions share the one initial adapter. */
  initialAssignment(): RoundAssignment {
    return {
      ...this.#submissionColumns(this.plan.adapters),
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
      updateNorms: [],
      clipped: [],
      outliers: [],
    };
  }

  /** Bytes that clients send up in a round: none where the server groups nothing. */
  upload(): Upload {
    const adapterValues = this.layout.size;
    const bytesPerAdapter = this.#line.bytesUp;
    const counts = new Array<number>(this.plan.nClients).fill(0);
    if (this.method.grouping !== 'none') for (const adapter of this.plan.adapters) counts[adapter.client]! += 1;
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

  /** @param share of its steps that a slow client does */
  #job(adapter: PlannedAdapter, share: number | undefined): LocalJob {
    const { tasks, settings } = this.#options;
    const { client, slot, row, samples } = adapter;
    const parts = adapter.parts.map(({ task, holders }) => ({
      task: tasks[task]!,
      rows: this.#rowsOf(client, task),
      steps: stepsDone(share, stepsPerTask(this.method, settings, { tasks: adapter.parts.length, holders })),
    }));
    return { client, slot, row, samples, parts };
  }

  /** Training rows of a planned client: its own, or those of all clients where they are pooled. */
  #rowsOf(client: number, task: number): Int32Array {
    const { rows } = this.#options;
    if (this.method.data === 'clients') return rows[client]![task]!;
    return Int32Array.from(rows.flatMap((own) => [...own[task]!]));
  }

  async #group(round: number, submissions: readonly Submission[], signal?: AbortSignal): Promise<Assignment> {
    const grouping = GROUPINGS[this.method.grouping];
    if (this.method.grouping === 'kmeans') this.#tellOfAbsentTasks(submissions);
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
        ...this.#space(),
      },
      seed: kmeansSeed(settings.seed, round),
      signal,
      announce: (message) => this.#announce(message),
    });
  }

  /** For the user alone: the server cannot know it. */
  #tellOfAbsentTasks(submissions: readonly Submission[]): void {
    const k = this.#clusters();
    const present = new Set(submissions.map((submission) => this.#truthOf(submission))).size;
    if (k === 'auto' || present >= Math.min(k, this.plan.tasks.length) || submissions.length <= k) return;
    this.#announce(
      `the adapters of a round were of ${present} of ${this.plan.tasks.length} tasks only: K-means makes K = ${k} clusters all the ` +
        'same, so adapters of one task may be parted',
    );
  }

  /** The space that K-means clusters in, as configured. */
  #space() {
    const { kmeansSpace, kmeansMetric, kmeansStandardize } = this.#options.settings;
    return { space: kmeansSpace, metric: kmeansMetric, standardize: kmeansStandardize };
  }

  async #measure(submissions: readonly Submission[], signal?: AbortSignal): Promise<Geometry | undefined> {
    const { engine, settings } = this.#options;
    const byRow = new Map(submissions.map((submission) => [submission.row, submission]));
    const inOrder = this.plan.adapters.flatMap((adapter) => byRow.get(adapter.row) ?? []);
    const { recordDistances: limit = 0, seed } = settings;
    return measureGeometry({
      engine,
      bank: this.#bank,
      submissions: inOrder,
      limit,
      seed,
      space: this.#space(),
      signal,
    });
  }

  /** Clusters that K-means is asked for. */
  #clusters(): number | 'auto' {
    const { kmeansK } = this.#options.settings;
    return kmeansK === 'tasks' ? this.plan.tasks.length : kmeansK;
  }

  async #aggregate(
    round: number,
    submissions: readonly Submission[],
    assignment: Assignment,
  ): Promise<Averaged | undefined> {
    if (this.#centres === undefined) return undefined;
    const { weights } = this.#options.settings;
    const [bank, centres, aggregation] = [this.#bank, this.#centres, this.#aggregation];
    return aggregate({ bank, centres, submissions, assignment, weights, aggregation, round });
  }

  /** The longest update that counts whole; null where none is bounded. What is not sent is not bounded either. */
  #mostNorm(): number | null {
    return this.method.grouping === 'none' ? null : (this.#options.settings.maxUpdateNorm ?? null);
  }

  /**
   * Measures each submission against what its client had received, and shortens it where it is longer than is allowed.
   *
   * @param before the state at the beginning of the round
   * @returns in submission order
   * @throws FltacError NON_FINITE for values that are not finite
   */
  #bound(round: number, { held, vectors }: FederationState, submissions: readonly Submission[]): Update[] {
    const maxUpdateNorm = this.#mostNorm();
    const sent = new Set(submissions.map(({ row }) => row));
    return this.plan.adapters.flatMap(({ client, row }, i) => {
      if (!sent.has(row)) return [];
      const received = vectors.get(ADAPTERS)![held[i]!]!;
      const values = this.#bank.get(row);
      const update = updateOf(this.layout, received, values);
      if (!Number.isFinite(update.norm)) {
        throw new FltacError('NON_FINITE', `round ${round}: client ${client} sent values that are not finite`);
      }
      if (maxUpdateNorm !== null && update.norm > maxUpdateNorm) {
        this.#bank.set(row, clipUpdate(received, values, update.norm, maxUpdateNorm));
      }
      return [update];
    });
  }

  #tellOutliers(round: number, { outliers, clients, trueTasks }: RoundAssignment): void {
    if (outliers.length === 0) return;
    const told = outliers.map(({ submission, measure, value, median }) => {
      const what = { update_norm: 'update norm', distance: 'distance to its cluster' }[measure];
      return `client ${clients[submission]!}'s ${trueTasks[submission]!} (${what} ${value.toPrecision(3)}, median ${median.toPrecision(3)})`;
    });
    this.#options.log.info(`round ${round}: adapters that stand out: ${told.join(', ')}`);
  }

  #sent(submissions: readonly Submission[]): SentAdapter[] {
    const rows = new Set(submissions.map(({ row }) => row));
    return this.plan.adapters
      .filter(({ row }) => rows.has(row))
      .map((adapter) => ({
        client: adapter.client,
        trueTask: trueTask(this.plan, adapter),
        values: this.#bank.get(adapter.row),
      }));
  }

  #truthOf(submission: Submission): number {
    const own = (adapter: PlannedAdapter) => adapter.client === submission.client && adapter.slot === submission.slot;
    return this.plan.adapters.find(own)!.parts[0]!.task;
  }

  /** Takes the assignment over into what clients hold. */
  #record(
    submissions: readonly Submission[],
    assignment: Assignment,
    updates: readonly Update[],
    geometry: Geometry | undefined,
  ): RoundAssignment {
    const byRow = new Map(submissions.map((submission, i) => [submission.row, i]));
    const { adapters } = this.plan;
    const label = ({ row }: PlannedAdapter) => assignment.labels[byRow.get(row) ?? -1];
    const submitted = adapters.filter(({ row }) => byRow.has(row));
    this.#held = this.membersEqual
      ? heldAfter(this.#held, adapters.map(label), assignment.clusters)
      : heldAfter(this.#held, adapters.map(ownNumbers(submitted)), submitted.length);
    const inOrder = (values: Int32Array | Float64Array) => submitted.map(({ row }) => values[byRow.get(row)!]!);
    const labels = inOrder(assignment.labels);
    const columns = this.#submissionColumns(submitted);
    const scored = GROUPINGS[this.method.grouping].scored && labels.length > 0;
    const { inertia, iterations, clusters, reseeded, path } = assignment;
    const maxUpdateNorm = this.#mostNorm();
    const updateNorms = updates.map(({ norm }) => norm);
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
      updateNorms,
      clipped: [...updateNorms.keys()].filter((i) => updateNorms[i]! > (maxUpdateNorm ?? Infinity)),
      outliers: findOutliers(updateNorms, labels, geometry),
    };
  }

  #submissionColumns(adapters: readonly PlannedAdapter[]): Pick<RoundAssignment, 'trueTasks' | 'clients' | 'samples'> {
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

/** The assignment of a round whose results are too few to be averaged. */
const SKIPPED: Assignment = {
  labels: new Int32Array(0),
  clusters: 0,
  inertia: null,
  iterations: null,
  reseeded: 0,
  path: 'skipped',
  margin: null,
  silhouette: null,
};

/** Numbers submissions by their order. */
function ownNumbers(submitted: readonly PlannedAdapter[]): (adapter: PlannedAdapter) => number | undefined {
  const numbers = new Map(submitted.map(({ row }, i) => [row, i]));
  return ({ row }) => numbers.get(row);
}

/** Draws row 0 of a run's bank, and its frozen head where the head is not trained. */
export function startRow(bank: Bank, seed: number): void {
  bank.initialise(0, streamKey(seed, 'initial'));
}
