/**
 * Where local training happens. The round loop hands local jobs to an executor and gets submissions back; the executor
 * below trains all clients in this process, in cohorts. Clients on other machines would be another one.
 */
import type { ScenarioTask } from '../data/scenario.js';
import type { Examples, TrainJob } from '../engine/types.js';
import { FltacError } from '../errors.js';
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

/** A client whose result is left out of its round. */
export interface LocalFailure {
  readonly client: number;
  readonly task: string;
  /** a whole sentence for people */
  readonly reason: string;
}

export interface ExecutorResult {
  /** by client, then slot; without the clients that failed, whose rows hold anything */
  submissions: readonly Submission[];
  /** in the order of the jobs and their parts, likewise */
  reports: readonly LocalReport[];
  /** the first failure of each client, by client */
  failures: readonly LocalFailure[];
}

/** One part of a local job that is done, with all that is needed to go on without doing it again. */
export interface FinishedPart {
  readonly client: number;
  readonly slot: number;
  /** index into the job's parts */
  readonly part: number;
  readonly losses: Float64Array;
  /** the adapter after it, layout.size values; absent where a later part of the job took its place */
  readonly adapter?: Float32Array;
  /** why the client is left out of the round */
  readonly failure?: string;
}

/** Keeps the finished parts of a round that is not complete, so that a broken round goes on where it broke. */
export interface LocalStore {
  /** What an earlier process kept of the round, group by group in the order in which they were saved. */
  load(round: number): AsyncIterable<readonly FinishedPart[]>;
  /** Keeps parts that were finished together; they are safe when it returns. */
  save(round: number, parts: readonly FinishedPart[]): Promise<void>;
}

/** How far the local work of a round is. */
export interface LocalProgress {
  /** optimiser steps finished */
  readonly steps: number;
  /** clients whose work is all done */
  readonly clients: number;
  /** mean loss over the steps of the finished parts that did not fail; null before there is one */
  readonly loss: number | null;
}

export interface ExecutorContext {
  /** how far the round's training is, now and then */
  onProgress?: (progress: LocalProgress) => void;
  signal?: AbortSignal | undefined;
  store?: LocalStore | undefined;
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
  /** whether LoRA's A stays as it is; default false */
  freezesA?: boolean;
  onClientFailure: FailurePolicy;
}

/** Whether a client whose training diverges ends the run, or is left out of the round. */
export type FailurePolicy = 'stop' | 'exclude';

/** One (job, part) to train. */
interface Piece {
  job: LocalJob;
  part: LocalPart;
  /** index into job.parts */
  index: number;
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
   * Each wave's tokens are prepared while the wave before it trains. With a store, finished parts of an earlier
   * process are taken over, and each wave is kept as soon as it is done.
   *
   * @throws FltacError NON_FINITE for training that diverges, where that is to stop the run; INTERNAL for an adapter
   *   that did not move; FORMAT for kept parts that are not of these jobs; ABORTED
   */
  async run(round: number, jobs: readonly LocalJob[], context: ExecutorContext): Promise<ExecutorResult> {
    const done = new RoundProgress(jobs);
    for await (const parts of context.store?.load(round) ?? []) parts.forEach((part) => this.#takeOver(done, part));
    // The same waves as without an interruption, less what is done: float rounding depends on who trains together.
    const waves = planWaves(jobs, this.#settings.cohort)
      .map((wave) => wave.filter((piece) => !done.has(piece)))
      .filter((wave) => wave.length > 0);
    let next = this.#prepareInBackground(round, waves[0]);
    context.onProgress?.(done.progress(0));
    for (let i = 0; i < waves.length; i += 1) {
      const pieces = (await next).filter(({ job }) => !done.failed(job.client));
      assertNotAborted(context.signal);
      next = this.#prepareInBackground(round, waves[i + 1]);
      if (pieces.length === 0) continue;
      const onSteps = (steps: number) => context.onProgress?.(done.progress(steps));
      const parts = await this.#train(round, pieces, context.signal, onSteps);
      await context.store?.save(round, parts);
      parts.forEach((part) => done.add(part));
      context.onProgress?.(done.progress(0));
    }
    return done.result();
  }

  #takeOver(done: RoundProgress, part: FinishedPart): void {
    const row = done.add(part);
    if (part.adapter !== undefined) this.#bank.set(row, part.adapter);
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
    signal: AbortSignal | undefined,
    onSteps: (steps: number) => void,
  ): Promise<readonly FinishedPart[]> {
    const { seed, lr, weightDecay, cohort, gradientCheckpointing = false, freezesA = false } = this.#settings;
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
      freezeA: freezesA,
      signal,
      onProgress: onSteps,
    });
    return pieces.map((piece, i) => this.#finish(round, piece, results[i]!.losses, before[i]!));
  }

  /** Checks what training made of a piece's adapter. */
  #finish(round: number, { job, part, index }: Piece, losses: Float64Array, before: Float32Array): FinishedPart {
    const who = `client ${job.client}, task ${part.task.name}, round ${round}`;
    const adapter = this.#bank.get(job.row);
    const finished = { client: job.client, slot: job.slot, part: index, losses };
    try {
      assertFiniteLosses(losses, who);
      const { lr, weightDecay, freezesA = false } = this.#settings;
      assertMoved({ layout: this.#bank.layout, before, after: adapter, losses, lr, weightDecay, freezesA, who });
    } catch (error) {
      if (!(error instanceof FltacError) || error.code !== 'NON_FINITE') throw error;
      if (this.#settings.onClientFailure === 'exclude') return { ...finished, failure: error.message };
      const way = 'on_client_failure=exclude leaves such a client out of its round';
      throw new FltacError('NON_FINITE', `${error.message}; ${way}`, { cause: error });
    }
    return { ...finished, adapter };
  }
}

/** What is done of a round's jobs. */
class RoundProgress {
  readonly #jobs: readonly LocalJob[];
  readonly #byName: ReadonlyMap<string, LocalJob>;
  readonly #losses = new Map<string, Float64Array>();
  readonly #failures = new Map<number, LocalFailure>();
  /** optimiser steps of the finished parts */
  #steps = 0;
  /** of those that did not fail: their losses, one a step */
  readonly #sound = { losses: 0, sum: 0 };
  /** by client: its parts that are not finished */
  readonly #left = new Map<number, number>();
  #clients = 0;

  constructor(jobs: readonly LocalJob[]) {
    this.#jobs = jobs;
    for (const { client, parts } of jobs) this.#left.set(client, (this.#left.get(client) ?? 0) + parts.length);
    this.#byName = new Map(jobs.map((job) => [`${job.client}/${job.slot}`, job]));
  }

  has({ job, index }: Piece): boolean {
    return this.#losses.has(partName(job, index)) || this.failed(job.client);
  }

  failed(client: number): boolean {
    return this.#failures.has(client);
  }

  /** @returns the bank row of its job @throws FltacError FORMAT for a part of no job */
  add(finished: FinishedPart): number {
    const job = this.#byName.get(`${finished.client}/${finished.slot}`);
    const part = job?.parts[finished.part];
    if (job === undefined || part?.steps !== finished.losses.length) {
      throw new FltacError(
        'FORMAT',
        `the kept local work of client ${finished.client}, slot ${finished.slot}, part ${finished.part} ` +
          `(${finished.losses.length} steps) is of another run`,
      );
    }
    this.#losses.set(partName(job, finished.part), finished.losses);
    this.#steps += part.steps;
    const { client, failure, losses } = finished;
    if (failure === undefined) {
      this.#sound.losses += losses.length;
      this.#sound.sum += losses.reduce((sum, loss) => sum + loss, 0);
    }
    const left = this.#left.get(client)! - 1;
    this.#left.set(client, left);
    if (left === 0) this.#clients += 1;
    if (failure !== undefined && !this.failed(client)) {
      this.#failures.set(client, { client, task: part.task.name, reason: failure });
    }
    return job.row;
  }

  /** @param running steps of the parts that are trained now */
  progress(running: number): LocalProgress {
    const { losses, sum } = this.#sound;
    const loss = losses === 0 ? null : sum / losses;
    return { steps: this.#steps + running, clients: this.#clients, loss };
  }

  result(): ExecutorResult {
    const sound = this.#jobs.filter((job) => !this.failed(job.client));
    const submissions = sound
      .map(({ client, slot, row, samples }) => ({ client, slot, row, samples }))
      .sort((a, b) => a.client - b.client || a.slot - b.slot);
    const reports = sound.flatMap((job) =>
      job.parts.map(({ task, rows }, index) => {
        const losses = this.#losses.get(partName(job, index))!;
        return { client: job.client, task: task.name, samples: rows.length, losses };
      }),
    );
    const failures = [...this.#failures.values()].sort((a, b) => a.client - b.client);
    return { submissions, reports, failures };
  }
}

function partName({ client, slot }: LocalJob, part: number): string {
  return `${client}/${slot}/${part}`;
}

/**
 * Waves of at most `cohort` pieces on distinct rows. Part p of every job comes before part p + 1 of any, so that a
 * shared adapter's tasks follow each other while different clients still train together.
 */
function planWaves(jobs: readonly LocalJob[], cohort: number): Piece[][] {
  const waves: Piece[][] = [];
  const stages = jobs.reduce((most, job) => Math.max(most, job.parts.length), 0);
  for (let index = 0; index < stages; index += 1) {
    const pieces = jobs.flatMap((job) => {
      const part = job.parts[index];
      return part === undefined ? [] : [{ job, part, index }];
    });
    for (let at = 0; at < pieces.length; at += cohort) waves.push(pieces.slice(at, at + cohort));
  }
  return waves;
}
