/**
 * The round loop: local fine-tunes, grouping, averaging, scoring, evaluation. It decides what is done in which order;
 * the modules beside it do each part, and whoever drives it writes the files of docs/file-formats.md.
 */
import type { MetricName, ScenarioTask } from '../data/scenario.js';
import type { AdapterLayout, AdapterSpec } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';
import { aggregationOf, leavesEqual, type Aggregation } from './aggregation.js';
import { SKIPPED, initialAssignment, recordAssignment } from './assignment.js';
import { assertClusters, assertCommonStart, assertNotAborted } from './checks.js';
import { Line, uploadOf, type Upload } from './communication.js';
import type { Bank, Engine } from './engine.js';
import type { EvaluationCache, Holding, PairResult, TaskScore } from './evaluation.js';
import { CohortExecutor, type Executor, type ExecutorResult, type LocalFailure, type LocalStore } from './executor.js';
import { measureGeometry, type Geometry } from './geometry.js';
import { clustersAsked, clusteringSpace, groupSubmissions } from './grouping.js';
import { HeldScores } from './held-scores.js';
import { heldAfter, holdingsOf, ownNumbers } from './held.js';
import { startRow } from './initial.js';
import { localJobs } from './local-jobs.js';
import { METHODS, type Method } from './methods.js';
import type { RoundAssignment, RoundClients, RoundOutcome, SentAdapter } from './outcome.js';
import { drawParticipants, participationOf, type Participants } from './participation.js';
import { planAdapters, trueTask, type Plan } from './plan.js';
import { aggregate, mostClusters, type Assignment, type Averaged, type Submission } from './server.js';
import type { FederationSettings } from './settings.js';
import { progressNote, tellClients, tellOutliers, warnOnce } from './tell.js';
import { boundUpdates, mostNorm, type Update } from './updates.js';

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
  readonly #scores: HeldScores;
  readonly #announce: (message: string) => void;
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
    this.#held = plan.adapters.map(() => 0);
    this.#announce = warnOnce(options.log);
    const { engine, spec, settings } = options;
    this.#bank = engine.createBank(spec, plan.rows);
    try {
      const most = mostClusters(method.grouping, clustersAsked(settings, plan), plan.tasks.length, plan.rows);
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
    this.#scores = new HeldScores({ ...options, plan });
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
    const { settings, initial } = this.#options;
    startRow(this.#bank, settings.seed);
    if (initial !== undefined) this.#bank.set(0, initial);
    for (let row = 1; row < this.plan.rows; row += 1) this.#bank.copy(0, row);
    assertCommonStart(this.#bank);
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
    const { settings, log } = this.#options;
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
    tellClients(log, clients, { round, arrived, minClients: settings.minClients });
    if (aggregated) this.#line.send(this.#bank, received);
    const updates = this.#bound(round, before, received);
    if (received.length > 0) await this.#options.keepSubmissions?.(round, this.#sent(received));
    const assignment = aggregated ? await this.#group(round, received, signal) : SKIPPED;
    assertNotAborted(signal);
    const clusterSizes = assertClusters(assignment, received.length, round);
    const geometry = await this.#measure(received, signal);
    const averaged = aggregated ? await this.#aggregate(round, received, assignment) : undefined;
    const recorded = this.#record(received, assignment, updates, geometry);
    tellOutliers(log, round, recorded);
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
    participants: Participants,
    signal: AbortSignal | undefined,
    store: LocalStore | undefined,
  ): Promise<ExecutorResult & { steps: number }> {
    const { settings, log } = this.#options;
    if (participants.selected.length - participants.dropped.length < settings.minClients) {
      return { steps: 0, submissions: [], reports: [], failures: [] };
    }
    const jobs = localJobs({ ...this.#options, plan: this.plan, method: this.method }, participants);
    this.#line.begin(
      this.#bank,
      jobs.map((job) => job.row),
    );
    const steps = jobs.flatMap((job) => job.parts).reduce((sum, part) => sum + part.steps, 0);
    const clients = new Set(jobs.map((job) => job.client)).size;
    const bar = log.progress(`round ${round}/${this.rounds} training`, steps);
    const result = await this.#executor
      .run(round, jobs, { signal, store, onProgress: (done) => bar.update(done.steps, progressNote(done, clients)) })
      .finally(() => bar.done());
    return { ...result, steps };
  }

  /** Gives the clients whose results do not count in this round the adapters back that they held before it. */
  #giveBack(before: FederationState, received: readonly Submission[]): void {
    const rows = new Set(received.map((submission) => submission.row));
    this.plan.adapters.forEach(({ row }, i) => {
      if (!rows.has(row)) this.#bank.set(row, heldBefore(before, i));
    });
  }

  #clients(
    { selected, dropped, stragglers }: Participants,
    failed: readonly LocalFailure[],
    aggregated: boolean,
    holders: number,
  ): RoundClients {
    const whole = selected.length === holders && dropped.length + stragglers.size + failed.length === 0;
    return { selected, dropped, stragglers: [...stragglers.keys()], failed, aggregated, everyone: aggregated && whole };
  }

  /** Evaluates the adapters that clients hold now. */
  async evaluate(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    return this.#scores.of(this.#bank, this.holdings(), signal);
  }

  /** Evaluates the common initial adapter, whatever has been trained since. */
  async evaluateInitial(signal?: AbortSignal): Promise<readonly TaskScore[]> {
    return this.#scores.ofInitial(signal);
  }

  /**
   * What clients hold, evaluated on each task's first batch of rows.
   *
   * @param states adapters to take in place of those in memory, by cluster, layout.size values each
   */
  async probe(states?: ReadonlyMap<number, Float32Array>, signal?: AbortSignal): Promise<readonly PairResult[]> {
    if (states === undefined) return this.#scores.probe(this.#bank, this.holdings(), signal);
    return this.#scores.probeStates(states, this.#held, signal);
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
    return initialAssignment(this.plan);
  }

  /** Bytes that clients send up in a round: none where the server groups nothing. */
  upload(): Upload {
    const { bytesUp: bytesPerAdapter } = this.#line;
    return uploadOf(this.plan, this.method, { adapterValues: this.layout.size, bytesPerAdapter });
  }

  #evaluatesAt(round: number): boolean {
    return round % this.#options.settings.evalEvery === 0 || round === this.rounds;
  }

  #group(round: number, submissions: readonly Submission[], signal?: AbortSignal): Promise<Assignment> {
    const { engine, settings } = this.#options;
    const [bank, plan, method, announce] = [this.#bank, this.plan, this.method, this.#announce];
    return groupSubmissions(submissions, { engine, bank, plan, method, settings, round, signal, announce });
  }

  async #measure(submissions: readonly Submission[], signal?: AbortSignal): Promise<Geometry | undefined> {
    const { engine, settings } = this.#options;
    const byRow = new Map(submissions.map((submission) => [submission.row, submission]));
    const inOrder = this.plan.adapters.flatMap((adapter) => byRow.get(adapter.row) ?? []);
    const { recordDistances: limit = 0, seed } = settings;
    const space = clusteringSpace(settings);
    return measureGeometry({ engine, bank: this.#bank, submissions: inOrder, limit, seed, space, signal });
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

  #bound(round: number, before: FederationState, submissions: readonly Submission[]): Update[] {
    return boundUpdates({
      bank: this.#bank,
      submissions,
      adapters: this.plan.adapters,
      received: (i) => heldBefore(before, i),
      maxUpdateNorm: mostNorm(this.method, this.#options.settings),
      round,
    });
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

  /** Takes the assignment over into what clients hold. */
  #record(
    submissions: readonly Submission[],
    assignment: Assignment,
    updates: readonly Update[],
    geometry: Geometry | undefined,
  ): RoundAssignment {
    const { plan, method } = this;
    const maxUpdateNorm = mostNorm(method, this.#options.settings);
    const recorded = recordAssignment({ plan, method, submissions, assignment, updates, maxUpdateNorm, geometry });
    const own = ownNumbers(plan.adapters, new Set(submissions.map(({ row }) => row)));
    const labels = own.map((number) => (number === undefined ? undefined : recorded.labels[number]));
    this.#held = this.membersEqual
      ? heldAfter(this.#held, labels, recorded.clusters)
      : heldAfter(this.#held, own, submissions.length);
    return recorded;
  }
}

/** What planned adapter `i` was in a state. */
function heldBefore({ held, vectors }: FederationState, i: number): Float32Array {
  return vectors.get(ADAPTERS)![held[i]!]!;
}
