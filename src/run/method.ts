/**
 * One method over all rounds in a run's folder: from the start, or from a checkpoint on. A round's files are written
 * when the round is complete; its checkpoint, which comes last, makes it count.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { stringifyConfig } from '../config/index.js';
import { FltacError, messageOf } from '../errors.js';
import { assertNotAborted } from '../federation/checks.js';
import { leadingCluster, type EvaluationCache, type TaskScore } from '../federation/evaluation.js';
import { METHODS } from '../federation/methods.js';
import type { RoundAssignment, RoundOutcome } from '../federation/outcome.js';
import type { Federation } from '../federation/round.js';
import {
  finalFolder,
  partitionRecord,
  roundFile,
  savesAt,
  writeInitialAdapter,
  writePeftDirectory,
  writeRoundAdapters,
  writeSubmissions,
} from './artifacts.js';
import {
  cutJournal,
  markJournal,
  readCheckpointState,
  tidyCheckpoint,
  writeCheckpoint,
  type CheckpointFacts,
  type CheckpointRecord,
} from './checkpoint.js';
import { environmentRecord, ownVersion, resumedEnvironment } from './environment.js';
import { readJsonFile, writeJsonFile, writeTextFile } from './files.js';
import { RUN_FILES, clearRunFolder, removeLeftovers } from './folder.js';
import { Journal } from './journal.js';
import { LocalWork } from './local-work.js';
import { formatSeconds, plural } from './log.js';
import { writeManifest } from './manifest.js';
import { writeWholeModel } from './model-directory.js';
import { federationOf } from './open-federation.js';
import type { OpenRun, RunContext } from './open.js';
import type { MethodOutcome, RoundEvent } from './outcome.js';
import { proveReload, withProof } from './proof.js';
import { readCosts } from './read-run.js';
import { assignmentRecord, evalRecords, geometryRecord, roundRecords } from './records.js';
import { assertSameOrigin, fixedConfig, machineOf, originOf, tellOfDifferences } from './resume.js';
import { score } from './table.js';

/** Where a method's run lies, and what it goes on from. */
export interface Place {
  /** absolute path of its folder */
  folder: string;
  /** the folder that --resume takes: its own, or that of the run it is a baseline of */
  home: string;
  /** undefined: it begins from the start, and clears the folder */
  from: CheckpointRecord | undefined;
}

export interface MethodContext extends RunContext {
  /** called with each round of this process once its files and its checkpoint are written; what it throws ends the run */
  onRound?: (event: RoundEvent) => void;
}

/** One method's run, with what the table needs of it. */
export interface MethodRun {
  outcome: MethodOutcome;
  untuned: readonly TaskScore[];
  scores: readonly TaskScore[];
}

/** What is known of a run besides its federation's state. */
type Progress = Pick<CheckpointFacts, 'round' | 'seconds' | 'untuned' | 'last'>;

/**
 * Runs what is left of a method's rounds, and writes the final adapters.
 *
 * @param untuned metrics of the initial adapter, where they are known
 * @throws FltacError as trainRun
 */
export async function runMethod(
  run: OpenRun,
  place: Place,
  context: MethodContext,
  cache: EvaluationCache,
  untuned?: readonly TaskScore[],
): Promise<MethodRun> {
  const keep = { keepSubmissions: writeSubmissions.bind(undefined, run.face, place.folder) };
  const federation = await federationOf(run, { log: context.log, cache, ...(run.config.saveSubmissions && keep) });
  try {
    const method = new RunningMethod(run, place, context, federation, untuned);
    const progress = await method.finish(
      place.from === undefined ? await method.begin() : await method.goOn(place.from),
    );
    const { clusteringAccuracy, ari, optimizerSteps } = progress.last ?? NO_ROUND;
    const before = progress.untuned ?? [];
    const totals = await readCosts(place.folder);
    return {
      untuned: before,
      scores: progress.last?.scores ?? before,
      outcome: {
        method: run.config.method,
        folder: place.folder,
        rounds: federation.rounds,
        clusteringAccuracy,
        ari,
        optimizerSteps,
        upload: federation.upload(),
        totals: { optimizerSteps: totals.optimizerSteps, bytesUp: totals.bytesUp, bytesDown: totals.bytesDown },
        seconds: progress.seconds,
      },
    };
  } finally {
    federation.dispose();
  }
}

const NO_ROUND = { clusteringAccuracy: null, ari: null, optimizerSteps: 0 };

/** A method at work in its folder. */
class RunningMethod {
  readonly #run: OpenRun;
  readonly #place: Place;
  readonly #context: MethodContext;
  readonly #federation: Federation;
  readonly #metrics: Journal;
  readonly #assignments: Journal;
  readonly #geometry: Journal;
  readonly #work: LocalWork;
  /** metrics of the initial adapter that another method of the run has found */
  readonly #untuned: readonly TaskScore[] | undefined;
  readonly #started = performance.now();

  constructor(
    run: OpenRun,
    place: Place,
    context: MethodContext,
    federation: Federation,
    untuned: readonly TaskScore[] | undefined,
  ) {
    this.#run = run;
    this.#place = place;
    this.#context = context;
    this.#federation = federation;
    this.#untuned = untuned;
    this.#metrics = new Journal(path.join(place.folder, RUN_FILES.metrics));
    this.#assignments = new Journal(path.join(place.folder, RUN_FILES.assignments));
    this.#geometry = new Journal(path.join(place.folder, RUN_FILES.geometry));
    this.#work = new LocalWork(run.face, place.folder, context.log);
  }

  /** Clears the folder, which until here any failure leaves as it was. */
  async begin(): Promise<Progress> {
    const { folder } = this.#place;
    await clearRunFolder(folder);
    await this.#writeRecords(environmentRecord(this.#run));
    const [initial] = this.#federation.clusterStates().values();
    await writeInitialAdapter(this.#run.face, folder, this.#federation.layout, initial!);
    this.#announce();
    return this.#stoppable(0, () => this.#commit({ round: 0, untuned: null, last: null }));
  }

  /** Takes a checkpoint over, and takes out of the folder what belongs to rounds after it. */
  async goOn(from: CheckpointRecord): Promise<Progress> {
    const { folder } = this.#place;
    const { face } = this.#run;
    const { log } = this.#context;
    assertSameOrigin(folder, from, this.#run);
    this.#federation.restore(await readCheckpointState(face, folder, from, this.#federation.layout));
    // It would tell of files that change now; the end writes it anew.
    await this.#removeManifest();
    await cutJournal(this.#metrics.path, from.journals.metrics);
    await cutJournal(this.#assignments.path, from.journals.assignments);
    await cutJournal(this.#geometry.path, from.journals.geometry);
    await this.#removeLaterRounds(from.round);
    await tidyCheckpoint(folder, from);
    await removeLeftovers(folder);
    const environment = path.join(folder, RUN_FILES.environment);
    await this.#writeRecords(
      resumedEnvironment(await readJsonFile(environment), environmentRecord(this.#run), from.round),
    );
    tellOfDifferences(from, this.#run, ownVersion(), log);
    this.#announce();
    const { rounds } = this.#federation;
    if (from.round < rounds) log.info(`${folder} goes on after round ${from.round} of ${rounds}`);
    else log.info(`${folder} has all of its ${plural(rounds, 'round')}`);
    return from;
  }

  /** The rounds that are left, the final adapters, and the proof that what is saved is what was evaluated. */
  async finish(start: Progress): Promise<Progress> {
    const { rounds } = this.#federation;
    let progress = start;
    if (rounds === 0) progress = await this.#stoppable(0, () => this.#noRound(start));
    for (let round = start.round + 1; round <= rounds; round += 1) {
      progress = await this.#stoppable(round - 1, () => this.#round(round, progress));
    }
    await this.#stoppable(rounds, async () => {
      await this.#writeFinal();
      await this.#prove();
    });
    return progress;
  }

  async #prove(): Promise<void> {
    const { folder } = this.#place;
    await writeManifest(folder, await proveReload(this.#run, this.#federation, folder, this.#context.signal));
  }

  /** All there is to a method that trains nothing. */
  async #noRound({ untuned: known }: Progress): Promise<Progress> {
    const untuned = known ?? (await this.#evaluateInitial());
    await this.#saveAdapters(0, this.#federation.initialAssignment());
    return this.#commit({ round: 0, untuned, last: null });
  }

  /** The initial adapter is evaluated once the first round has trained: training shall not wait for it. */
  async #round(round: number, { untuned: known }: Progress): Promise<Progress> {
    const outcome = await this.#federation.round(round, this.#context.signal, this.#work);
    const untuned = known ?? (await this.#evaluateInitial());
    const { assignment, scores, optimizerSteps, proof } = outcome;
    const saved = savesAt(round, this.#federation.rounds, this.#run.config);
    if (saved) await this.#saveAdapters(round, assignment);
    const assigned = assignmentRecord(round, assignment);
    const adapters = saved ? roundFile(this.#place.folder, round) : undefined;
    const records = await withProof(roundRecords(outcome), proof, assigned, adapters);
    if (outcome.geometry !== undefined) await this.#geometry.append([geometryRecord(round, outcome.geometry)]);
    await this.#assignments.append([assigned]);
    await this.#metrics.append(records);
    const { clusteringAccuracy, ari } = assignment;
    const last = { clusteringAccuracy, ari, optimizerSteps, ...(scores === undefined ? {} : { scores: [...scores] }) };
    const progress = await this.#commit({ round, untuned, last });
    if (this.#run.config.tensorboard) await this.#writeEvents();
    this.#context.log.info(roundLine(this.#federation.rounds, outcome, this.#secondsPerRound(round)));
    this.#context.onRound?.({ method: this.#run.config.method, rounds: this.#federation.rounds, ...outcome });
    return progress;
  }

  /** Mean of the rounds of this process, with their evaluation and files. */
  #secondsPerRound(round: number): number {
    return (performance.now() - this.#started) / 1000 / (round - (this.#place.from?.round ?? 0));
  }

  /** The round is complete whatever becomes of its curves. */
  async #writeEvents(): Promise<void> {
    const { folder } = this.#place;
    try {
      const { writeRunEvents } = await import('../tensorboard/run-events.js');
      await writeRunEvents(folder);
    } catch (error) {
      const again = `fltac tensorboard ${folder} tries again`;
      this.#context.log.warn(`the round's curves could not be written (${again}): ${messageOf(error)}`);
    }
  }

  async #evaluateInitial(): Promise<TaskScore[]> {
    const scores = this.#untuned ?? (await this.#federation.evaluateInitial(this.#context.signal));
    await this.#metrics.append(evalRecords(0, scores));
    return [...scores];
  }

  /** Makes a round count: all that was written for it before this may be written again. */
  async #commit(progress: Omit<Progress, 'seconds'>): Promise<Progress> {
    const seconds = (this.#place.from?.seconds ?? 0) + (performance.now() - this.#started) / 1000;
    const facts: CheckpointFacts = {
      ...progress,
      fltac: ownVersion(),
      seconds,
      complete: progress.round === this.#federation.rounds,
      config: fixedConfig(this.#run.config),
      origin: originOf(this.#run),
      machine: machineOf(this.#run),
      journals: {
        metrics: await markJournal(this.#metrics.path),
        assignments: await markJournal(this.#assignments.path),
        geometry: await markJournal(this.#geometry.path),
      },
    };
    await writeCheckpoint(this.#run.face, this.#place.folder, facts, this.#federation.state());
    return { ...progress, seconds };
  }

  /** What says how a run was made; the environment record comes first, because it marks the folder as a run's. */
  async #writeRecords(environment: Readonly<Record<string, unknown>>): Promise<void> {
    const { folder } = this.#place;
    const { config, partition } = this.#run;
    await writeJsonFile(path.join(folder, RUN_FILES.environment), environment);
    await writeTextFile(path.join(folder, RUN_FILES.config), stringifyConfig(config));
    await writeJsonFile(path.join(folder, RUN_FILES.partition), partitionRecord(partition, config));
  }

  async #removeManifest(): Promise<void> {
    const file = path.join(this.#place.folder, RUN_FILES.manifest);
    await rm(file, { force: true }).catch((cause: unknown) => {
      throw new FltacError('IO', `${file} cannot be deleted: ${messageOf(cause)}`, { cause });
    });
  }

  async #removeLaterRounds(round: number): Promise<void> {
    const { folder } = this.#place;
    try {
      for (const name of await readdir(folder)) {
        const saved = /^(?:adapters|submissions)_round_(\d+)\.(?:pt|safetensors)$/.exec(name)?.[1];
        if (saved !== undefined && Number(saved) > round) await rm(path.join(folder, name), { force: true });
      }
    } catch (cause) {
      throw new FltacError('IO', `${folder} cannot be tidied: ${messageOf(cause)}`, { cause });
    }
  }

  #announce(): void {
    const { config, engine, scenario, model, cohort } = this.#run;
    const { info } = engine;
    const { plan, layout } = this.#federation;
    this.#context.log.info(
      `${config.method} on ${config.scenario}: ${METHODS[config.method].summary}\n` +
        `${plural(scenario.tasks.length, 'task')}, ${plural(plan.nClients, 'client')}, ` +
        `${plural(plan.adapters.length, 'adapter')} ` +
        `of ${layout.size} values; ${info.family} (${model.id}) on ${info.device} in ${info.dtype}, ` +
        `cohort ${cohort.size}: ${cohort.reason}`,
    );
  }

  async #saveAdapters(round: number, assignment: RoundAssignment): Promise<void> {
    const { trueTasks } = assignment;
    // Where members of one cluster hold different adapters the file has each of them, under its own number.
    const labels = this.#federation.membersEqual ? assignment.labels : assignment.labels.map((_, i) => i);
    const { layout, held } = this.#federation;
    const absent = held.length === labels.length ? {} : { held };
    const states = this.#federation.clusterStates();
    await writeRoundAdapters(this.#run.face, this.#place.folder, {
      round,
      layout,
      states,
      labels,
      trueTasks,
      ...absent,
    });
  }

  /**
   * Each task's final adapter as a PEFT directory, or its whole model as transformers loads it. Where the holders of a task
   * hold different ones, it is the one with the most of the task's samples behind it, and the log says so.
   */
  async #writeFinal(): Promise<void> {
    const { config, engine, face, model, scenario, spec } = this.#run;
    const { layout } = this.#federation;
    const states = this.#federation.clusterStates();
    const holdings = this.#federation.holdings();
    const clustered = METHODS[config.method].grouping !== 'none' && this.#federation.membersEqual;
    for (const [index, { name }] of scenario.tasks.entries()) {
      const leading = leadingCluster(holdings, index);
      if (leading === undefined) continue;
      assertNotAborted(this.#context.signal);
      const { cluster, share, clusters } = leading;
      if (clusters > 1) {
        this.#context.log.info(
          `final/${name}: the task's clients hold ${clusters} different adapters; written is that of ` +
            `${clustered ? `cluster ${cluster}` : 'the client'} with ${(100 * share).toFixed(0)} % of the task's samples`,
        );
      }
      const write = spec.tuning === 'full' ? writeWholeModel : writePeftDirectory;
      await write(face, finalFolder(this.#place.folder, name), {
        layout,
        flat: states.get(cluster)!,
        spec,
        base: model,
        kind: engine.info,
      });
    }
  }

  /**
   * Work of the round after `saved`, or what comes after all rounds; when it fails the error says what the folder holds,
   * and how to go on.
   */
  async #stoppable<T>(saved: number, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof FltacError)) throw error;
      const { folder, home } = this.#place;
      const round = saved + 1;
      const rounds = this.#federation.rounds;
      const parts = this.#work.partsOf(round);
      const held =
        saved === 0
          ? 'no round was complete'
          : `${saved === 1 ? 'round 1 is' : `rounds 1 to ${saved} are`} saved in ${folder}`;
      const kept = parts === 0 ? '' : `, and ${plural(parts, 'local fine-tune')} of round ${round}`;
      const saving = `${held}${kept}\nto go on: fltac train --resume ${shellWord(home)}`;
      const where = saved >= rounds ? 'at the end of the run' : `in round ${round} of ${rounds}`;
      const message =
        error.code === 'ABORTED' ? `stopped ${where}: ${saving}` : `${error.message}\nthat was ${where}: ${saving}`;
      throw new FltacError(error.code, message, { cause: error });
    }
  }
}

/** A path as a shell takes it. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function roundLine(rounds: number, outcome: RoundOutcome, secondsPerRound: number): string {
  const losses = outcome.local.flatMap((report) => [...report.losses]);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const { clusteringAccuracy } = outcome.assignment;
  const parts = [
    ...(losses.length === 0 ? [] : [`loss ${mean.toFixed(3)}`]),
    ...(clusteringAccuracy === null ? [] : [`clustering accuracy ${score(clusteringAccuracy)}`]),
    ...(outcome.scores ?? []).map(({ task, metric }) => `${task} ${score(metric)}`),
  ];
  const left = (rounds - outcome.round) * secondsPerRound;
  const more = left === 0 ? '' : `; about ${formatSeconds(left)} left`;
  return `round ${outcome.round}/${rounds}: ${parts.join(', ')} (${formatSeconds(outcome.seconds)}${more})`;
}
