/**
 * The toy study of the paper's Fig. 3: what rank does one adapter for all tasks need, against one adapter a task? Trained
 * centrally on the same batches: a shared adapter takes the tasks' batches in turn, those per task each take their own.
 * The scaling alpha / rank is held at the configured one, so that the learning rate fits every rank.
 */
import type { RunConfig } from '../config/schema.js';
import type { MetricName } from '../data/scenario.js';
import { asSequences, isSequences } from '../engine/examples.js';
import type { AdapterSpec, PackedSequences, TrainJob } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { assertFiniteLosses } from '../federation/checks.js';
import { evaluateHoldings, type EvaluationCache, type TaskScore } from '../federation/evaluation.js';
import { METHODS } from '../federation/methods.js';
import { drawBatches, streamGenerator, streamKey } from '../federation/streams.js';
import { plural } from '../run/log.js';
import { assertRunConfig } from '../run/arguments.js';
import { openRun, type OpenRun, type RunContext } from '../run/open.js';

export interface RankStudyOptions {
  ranks: readonly number[];
  /** each gives another initial adapter, other batches and other dropout */
  seeds: readonly number[];
  /** optimizer steps on each task */
  steps: number;
}

export type Sharing = 'shared' | 'per task';

export const SHARINGS: readonly Sharing[] = ['shared', 'per task'];

export interface RankPoint {
  sharing: Sharing;
  rank: number;
  /** trained values of all adapters together: one adapter, or one a task */
  values: number;
  seed: number;
  /** of each task, as in `tasks` */
  scores: readonly number[];
  mean: number;
}

export interface RankStudy {
  scenario: string;
  model: string;
  metric: MetricName;
  tasks: readonly string[];
  /** null for tasks that have none */
  floors: readonly (number | null)[];
  /** of the untuned backbone with the initial adapter of the first seed and rank */
  untuned: readonly number[];
  steps: number;
  batchSize: number;
  lr: number;
  scaling: number;
  ranks: readonly number[];
  seeds: readonly number[];
  /** by seed, rank, then sharing */
  points: readonly RankPoint[];
}

/**
 * Trains and evaluates every rank, seed and sharing.
 *
 * @throws FltacError USAGE for a method without LoRA, tasks of images, or a rank above the hidden size; NON_FINITE where a
 *   training diverges; ABORTED; any error of model or data
 */
export async function studyRank(config: RunConfig, options: RankStudyOptions, context: RunContext): Promise<RankStudy> {
  assertRunConfig(config, 'studyRank');
  if (METHODS[config.method].tuning !== 'lora') {
    throw new FltacError('USAGE', `study rank takes the adapters of LoRA; method ${config.method} trains whole models`);
  }
  const run = await openRun(config, context);
  try {
    // A rank that no adapter of this backbone has ends the study before its first training, not hours into it.
    run.engine.layout({ ...run.spec, rank: Math.max(...options.ranks) });
    const study = new Study(run, options, context);
    return await study.run();
  } finally {
    run.engine.dispose();
  }
}

/** One task's training rows in the order of the steps. */
interface Drawn {
  examples: PackedSequences;
  batches: Int32Array;
}

class Study {
  readonly #run: OpenRun;
  readonly #options: RankStudyOptions;
  readonly #context: RunContext;
  readonly #cache: EvaluationCache = new Map();

  constructor(run: OpenRun, options: RankStudyOptions, context: RunContext) {
    this.#run = run;
    this.#options = options;
    this.#context = context;
  }

  async run(): Promise<RankStudy> {
    const { config, scenario, model, spec } = this.#run;
    const { ranks, seeds, steps } = this.#options;
    const points: RankPoint[] = [];
    let untuned: readonly TaskScore[] | undefined;
    for (const seed of seeds) {
      const drawn = await this.#draw(seed);
      for (const rank of ranks) {
        const { before, found } = await this.#train(seed, rank, drawn, untuned === undefined);
        untuned ??= before;
        points.push(...found);
        const shown = found.map(({ sharing, mean }) => `${sharing} ${mean.toFixed(3)}`).join(', ');
        this.#context.log.info(`seed ${seed}, rank ${rank}: ${shown}`);
      }
    }
    return {
      scenario: config.scenario,
      model: model.id,
      metric: scenario.metric,
      tasks: scenario.tasks.map(({ name }) => name),
      floors: (untuned ?? []).map(({ majorityFloor }) => majorityFloor),
      untuned: (untuned ?? []).map(({ metric }) => metric),
      steps,
      batchSize: config.batchSize,
      lr: config.lr,
      scaling: spec.loraAlpha / spec.rank,
      ranks,
      seeds,
      points,
    };
  }

  #draw(seed: number): Promise<Drawn[]> {
    const { scenario, config } = this.#run;
    return Promise.all(
      scenario.tasks.map(async (task) => {
        const rows = Int32Array.from({ length: task.trainRows }, (_, row) => row);
        const random = streamGenerator(seed, 'study', 'batches', task.name);
        const { order, batches } = drawBatches(rows, this.#options.steps, config.batchSize, random);
        const examples = await task.trainExamples(order);
        if (!isSequences(examples)) {
          throw new FltacError('USAGE', `study rank takes tasks of texts; ${task.name} is of images`);
        }
        return { examples: asSequences(examples), batches };
      }),
    );
  }

  /** Both sharings at one rank: bank row 0 is the shared adapter, row 1 + t that of task t. */
  async #train(seed: number, rank: number, drawn: readonly Drawn[], wantBefore: boolean) {
    const { engine, config, spec } = this.#run;
    const { log, signal } = this.#context;
    const scaled: AdapterSpec = { ...spec, rank, loraAlpha: (spec.loraAlpha / spec.rank) * rank };
    const bank = engine.createBank(scaled, drawn.length + 1);
    try {
      bank.initialise(0, streamKey(seed, 'study', 'initial', rank));
      for (let row = 1; row < bank.rows; row += 1) bank.copy(0, row);
      const before = wantBefore ? await this.#evaluate(bank, () => 0) : undefined;
      const all: Drawn[] = [inTurn(drawn), ...drawn];
      const jobs = all.map(({ examples, batches }, row): TrainJob => {
        return { row, examples, batches, stream: streamKey(seed, 'study', 'dropout', rank, row) };
      });
      const total = 2 * drawn.length * this.#options.steps;
      const bar = log.progress(`rank ${rank}, ${plural(bank.rows, 'adapter')}`, total);
      const { lr, weightDecay } = config;
      const results = await engine
        .train(bank, jobs, {
          lr,
          weightDecay,
          cohort: this.#run.cohort.size,
          signal,
          onProgress: (done) => bar.update(done),
        })
        .finally(() => bar.done());
      results.forEach(({ losses }, row) => assertFiniteLosses(losses, `adapter ${row} at rank ${rank}`));
      const rowOf: Readonly<Record<Sharing, (task: number) => number>> = {
        shared: () => 0,
        'per task': (task) => task + 1,
      };
      const found: RankPoint[] = [];
      for (const sharing of SHARINGS) {
        const scores = (await this.#evaluate(bank, rowOf[sharing])).map(({ metric }) => metric);
        const adapters = sharing === 'shared' ? 1 : drawn.length;
        const mean = scores.reduce((sum, value) => sum + value, 0) / scores.length;
        found.push({ sharing, rank, values: adapters * bank.layout.size, seed, scores, mean });
      }
      return { before, found };
    } finally {
      bank.dispose();
    }
  }

  async #evaluate(bank: Parameters<OpenRun['engine']['evaluate']>[0], rowOf: (task: number) => number) {
    const { engine, scenario, config } = this.#run;
    const { log, signal } = this.#context;
    const { evalBatchSize: batchSize, maxEvalBatches } = config;
    const holdings = scenario.tasks.map((_, task) => ({ task, cluster: rowOf(task), row: rowOf(task), samples: 1 }));
    const { tasks, metric } = scenario;
    const limit = maxEvalBatches * batchSize;
    const cache = this.#cache;
    return (await evaluateHoldings({ engine, bank, tasks, metric, holdings, limit, batchSize, cache, log, signal }))
      .scores;
  }
}

/** The batches of all tasks, a batch of each in turn. */
export function inTurn(drawn: readonly Drawn[]): Drawn {
  const picked: { examples: PackedSequences; row: number }[] = [];
  const batches = [0];
  const steps = (drawn[0]?.batches.length ?? 1) - 1;
  for (let step = 0; step < steps; step += 1) {
    for (const { examples, batches: own } of drawn) {
      for (let row = own[step]!; row < own[step + 1]!; row += 1) picked.push({ examples, row });
      batches.push(picked.length);
    }
  }
  return { examples: pack(picked), batches: Int32Array.from(batches) };
}

function pack(picked: readonly { examples: PackedSequences; row: number }[]): PackedSequences {
  const offsets = new Int32Array(picked.length + 1);
  picked.forEach(
    ({ examples: { offsets: own }, row }, i) => (offsets[i + 1] = offsets[i]! + own[row + 1]! - own[row]!),
  );
  const tokens = offsets[picked.length]!;
  const ids = new Int32Array(tokens);
  const typeIds = picked.every(({ examples }) => examples.typeIds !== undefined) ? new Uint8Array(tokens) : undefined;
  const perToken = picked.some(({ examples }) => examples.labels.length !== examples.offsets.length - 1);
  const labels = new Int32Array(perToken ? tokens : picked.length);
  picked.forEach(({ examples, row }, i) => {
    const [from, to] = [examples.offsets[row]!, examples.offsets[row + 1]!];
    ids.set(examples.ids.subarray(from, to), offsets[i]);
    typeIds?.set(examples.typeIds!.subarray(from, to), offsets[i]);
    if (perToken) labels.set(examples.labels.subarray(from, to), offsets[i]);
    else labels[i] = examples.labels[row]!;
  });
  return { ids, offsets, labels, ...(typeIds === undefined ? {} : { typeIds }) };
}
