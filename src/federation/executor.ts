/**
 * Where local training happens. The round loop hands local jobs to an executor and gets submissions back; the executor
 * below trains all clients in this process, in cohorts. Clients on other machines would be another one.
 */
import type { ScenarioTask } from '../data/scenario.js';
import type { Examples, TrainJob } from '../engine/types.js';
import { assertFiniteLosses, assertMoved, assertNotAborted } from './checks.js';
import type { Bank, Engine } from './engine.js';
import type { Submission } from './server.js';
import { drawBatches, streamGenerator, streamKey } from './streams.js';

/** One task's part of a local job. */
export interface LocalPart {
  readonly task: ScenarioTask;
  /** the client's training rows of the task */
  readonly rows: Int32Array;
  /** optimiser steps */
  readonly steps: number;
}

/** What one client does with one of its adapters in a round: its parts one after another, AdamW fresh for each. */
export interface LocalJob {
  readonly client: number;
  readonly slot: number;
  /** bank row, holding the adapter the client received */
  readonly row: number;
  readonly samples: number;
  readonly parts: readonly LocalPart[];
}

/** What a client tells of its training; for the record, never for the clustering. */
export interface LocalReport {
  readonly client: number;
  readonly task: string;
  readonly samples: number;
  /** mean cross-entropy of each step's batch */
  readonly losses: Float64Array;
}

export interface ExecutorResult {
  /** by client, then slot */
  submissions: readonly Submission[];
  /** in the order of the jobs and their parts */
  reports: readonly LocalReport[];
}

export interface ExecutorContext {
  /** optimiser steps finished in this round */
  onProgress?: (steps: number) => void;
  signal?: AbortSignal | undefined;
}

export interface Executor {
  run(round: number, jobs: readonly LocalJob[], context: ExecutorContext): Promise<ExecutorResult>;
}

export interface CohortSettings {
  seed: number;
  lr: number;
  weightDecay: number;
  batchSize: number;
  /** most jobs trained in one pass */
  cohort: number;
  /** default false; changes memory and time, not results */
  gradientCheckpointing?: boolean;
}

/** One (job, part) to train, with the place of its report. */
interface Piece {
  job: LocalJob;
  part: LocalPart;
  report: number;
}

interface PreparedPiece extends Piece {
  examples: Examples;
  batches: Int32Array;
}

/** Trains all clients in this process, `cohort` jobs in one pass of the engine. */
export class CohortExecutor implements Executor {
  readonly #engine: Engine;
  readonly #bank: Bank;
  readonly #settings: CohortSettings;

  constructor(engine: Engine, bank: Bank, settings: CohortSettings) {
    this.#engine = engine;
    this.#bank = bank;
    this.#settings = settings;
  }

  /**
   * Each wave's tokens are prepared while the wave before it trains.
   *
   * @throws FltacError NON_FINITE for a loss that is not finite, INTERNAL for an adapter that did not move, ABORTED
   */
  async run(round: number, jobs: readonly LocalJob[], context: ExecutorContext): Promise<ExecutorResult> {
    const waves = planWaves(jobs, this.#settings.cohort);
    const reports: LocalReport[] = [];
    let finished = 0;
    let next = this.#prepareInBackground(round, waves[0]);
    for (let i = 0; i < waves.length; i += 1) {
      const pieces = await next;
      assertNotAborted(context.signal);
      next = this.#prepareInBackground(round, waves[i + 1]);
      const done = await this.#train(round, pieces, {
        ...context,
        onProgress: (n) => context.onProgress?.(finished + n),
      });
      done.forEach(({ report, ...rest }) => (reports[report] = rest));
      finished += pieces.reduce((sum, piece) => sum + piece.part.steps, 0);
    }
    const submissions = jobs
      .map(({ client, slot, row, samples }) => ({ client, slot, row, samples }))
      .sort((a, b) => a.client - b.client || a.slot - b.slot);
    return { submissions, reports };
  }

  #prepareInBackground(round: number, wave: readonly Piece[] | undefined): Promise<PreparedPiece[]> {
    const prepared = Promise.all((wave ?? []).map((piece) => this.#prepare(round, piece)));
    // It is awaited a wave later, or never when training fails first: then its own failure must not surface alone.
    prepared.catch(() => undefined);
    return prepared;
  }

  async #prepare(round: number, piece: Piece): Promise<PreparedPiece> {
    const { job, part } = piece;
    const { seed, batchSize } = this.#settings;
    const generator = streamGenerator(seed, 'batches', round, job.client, part.task.name);
    const { order, batches } = drawBatches(part.rows, part.steps, batchSize, generator);
    return { ...piece, batches, examples: await part.task.trainExamples(order) };
  }

  async #train(
    round: number,
    pieces: readonly PreparedPiece[],
    context: ExecutorContext,
  ): Promise<(LocalReport & { report: number })[]> {
    const { seed, lr, weightDecay, cohort, gradientCheckpointing = false } = this.#settings;
    const before = pieces.map((piece) => this.#bank.get(piece.job.row));
    const jobs: TrainJob[] = pieces.map(({ job, part, examples, batches }) => ({
      row: job.row,
      examples,
      batches,
      stream: streamKey(seed, 'dropout', round, job.client, part.task.name),
    }));
    const results = await this.#engine.train(this.#bank, jobs, {
      lr,
      weightDecay,
      cohort,
      checkpointing: gradientCheckpointing,
      signal: context.signal,
      onProgress: (done) => context.onProgress?.(done),
    });
    return pieces.map(({ job, part, report }, i) => {
      const who = `client ${job.client}, task ${part.task.name}, round ${round}`;
      const losses = results[i]!.losses;
      assertFiniteLosses(losses, who);
      assertMoved(this.#bank.layout, before[i]!, this.#bank.get(job.row), who);
      return { report, client: job.client, task: part.task.name, samples: part.rows.length, losses };
    });
  }
}

/**
 * Waves of at most `cohort` pieces on distinct rows. Part p of every job comes before part p + 1 of any, so that a
 * shared adapter's tasks follow each other while different clients still train together.
 */
function planWaves(jobs: readonly LocalJob[], cohort: number): Piece[][] {
  const starts: number[] = [];
  let reports = 0;
  for (const job of jobs) {
    starts.push(reports);
    reports += job.parts.length;
  }
  const waves: Piece[][] = [];
  const stages = jobs.reduce((most, job) => Math.max(most, job.parts.length), 0);
  for (let stage = 0; stage < stages; stage += 1) {
    const pieces = jobs.flatMap((job, i) => {
      const part = job.parts[stage];
      return part === undefined ? [] : [{ job, part, report: starts[i]! + stage }];
    });
    for (let at = 0; at < pieces.length; at += cohort) waves.push(pieces.slice(at, at + cohort));
  }
  return waves;
}
