/** `fltac train`: one method over all rounds into a run's folder, then the baseline, where one is asked for. */
import path from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { stringifyConfig } from '../config/index.js';
import { FltacError, type ErrorCode } from '../errors.js';
import { leadingCluster, type EvaluationCache, type TaskScore } from '../federation/evaluation.js';
import { loadInitialAdapter } from '../federation/initial.js';
import { METHODS } from '../federation/methods.js';
import { Federation, type RoundAssignment, type RoundOutcome } from '../federation/round.js';
import {
  finalFolder,
  partitionRecord,
  roundFile,
  writeInitialAdapter,
  writePeftDirectory,
  writeRoundAdapters,
  writeSubmissions,
} from './artifacts.js';
import { environmentRecord } from './environment.js';
import { writeJsonFile, writeTextFile } from './files.js';
import { RUN_FILES, clearRunFolder, prepareRunFolder, withRunFolder } from './folder.js';
import { Journal } from './journal.js';
import { formatSeconds, plural, silentLog } from './log.js';
import { writeManifest } from './manifest.js';
import { openRun, type OpenRun, type RunContext } from './open.js';
import type { MethodOutcome, TaskOutcome, TrainOutcome } from './outcome.js';
import { readCosts } from './read-run.js';
import { proveReload, withProof } from './proof.js';
import { assignmentRecord, evalRecords, roundRecords } from './records.js';
import { score } from './table.js';

/** Without `log` the run is silent, without `signal` nothing stops it. */
export interface TrainContext extends Partial<RunContext> {
  /** replaces an earlier run in the output folder */
  overwrite?: boolean;
}

/** One method's run, with what the table needs of it. */
interface MethodRun {
  outcome: MethodOutcome;
  untuned: readonly TaskScore[];
  scores: readonly TaskScore[];
}

/**
 * Trains as the configuration says and leaves the files of docs/file-formats.md in `config.outputDir`. The folder is proved
 * writable before anything is downloaded; an earlier run in it is deleted only once model, data and adapters are ready;
 * a round's files are written when the round is complete.
 *
 * @throws FltacError USAGE or IO for the folder; ABORTED (saying what was saved) once `context.signal` is aborted;
 *   any error of the model, the data or the training
 */
export async function trainRun(config: RunConfig, context: TrainContext = {}): Promise<TrainOutcome> {
  const { overwrite = false, log = silentLog(), signal = new AbortController().signal, ...rest } = context;
  return withRunFolder(config.outputDir, overwrite, (folder) => trainInto(folder, config, { ...rest, log, signal }));
}

async function trainInto(folder: string, config: RunConfig, context: RunContext): Promise<TrainOutcome> {
  let run: OpenRun | undefined;
  try {
    run = await openRun(config, context);
    const cache: EvaluationCache = new Map();
    const main = await runMethod(run, folder, context, cache);
    const baseline = await runBaseline(run, folder, context, cache, main);
    return {
      ...main.outcome,
      scenario: config.scenario,
      metric: run.scenario.metric,
      initialAdapter: config.initialAdapter,
      tasks: run.scenario.tasks.map(({ name, majorityFloor }): TaskOutcome => ({
        task: name,
        metric: metricOf(main.scores, name),
        majorityFloor: main.scores.find((entry) => entry.task === name)?.majorityFloor ?? majorityFloor,
        untuned: metricOf(main.untuned, name),
        ...(baseline === undefined ? {} : { baseline: metricOf(baseline.scores, name) }),
      })),
      ...(baseline === undefined ? {} : { baseline: baseline.outcome }),
    };
  } finally {
    run?.engine.dispose();
  }
}

function metricOf(scores: readonly TaskScore[], task: string): number | null {
  return scores.find((entry) => entry.task === task)?.metric ?? null;
}

/** The same rounds with `baseline_method`, each task at the full local steps, in a run folder of its own. */
async function runBaseline(
  run: OpenRun,
  folder: string,
  context: RunContext,
  cache: EvaluationCache,
  main: MethodRun,
): Promise<MethodRun | undefined> {
  const method = run.config.baselineMethod;
  if (method === 'none') return undefined;
  const name = `baseline_${method}`;
  const config: RunConfig = {
    ...run.config,
    method,
    feditSteps: 'full',
    baselineMethod: 'none',
    outputDir: path.join(run.config.outputDir, name),
  };
  const own = await prepareRunFolder(path.join(folder, name), false);
  return runMethod({ ...run, config }, own, context, cache, main.untuned);
}

async function runMethod(
  run: OpenRun,
  folder: string,
  context: RunContext,
  cache: EvaluationCache,
  untuned?: readonly TaskScore[],
): Promise<MethodRun> {
  const started = performance.now();
  const federation = await createFederation(run, folder, context, cache);
  try {
    // Until here any failure leaves an earlier run in the folder as it was.
    await clearRunFolder(folder);
    await writeRunRecords(run, folder);
    await writeInitialAdapter(run.face, folder, federation.layout, federation.clusterStates().get(0)!);
    announceRun(run, federation, context);
    const { last, before } = await runRounds(run, federation, folder, context, untuned);
    await writeFinal(run, federation, folder, context);
    await writeManifest(folder, await proveReload(run, federation, folder, context.signal));
    const { optimizerSteps, bytesUp, bytesDown } = await readCosts(folder);
    const { clusteringAccuracy, ari } = last?.assignment ?? { clusteringAccuracy: null, ari: null };
    return {
      untuned: before,
      scores: last?.scores ?? before,
      outcome: {
        method: run.config.method,
        folder,
        rounds: federation.rounds,
        clusteringAccuracy,
        ari,
        optimizerSteps: last?.optimizerSteps ?? 0,
        upload: federation.upload(),
        totals: { optimizerSteps, bytesUp, bytesDown },
        seconds: (performance.now() - started) / 1000,
      },
    };
  } finally {
    federation.dispose();
  }
}

async function createFederation(
  run: OpenRun,
  folder: string,
  context: RunContext,
  cache: EvaluationCache,
): Promise<Federation> {
  const { engine, spec, config, face } = run;
  const source = config.initialAdapter;
  const initial = source === null ? {} : { initial: await loadInitialAdapter(face, source, engine.layout(spec), spec) };
  return Federation.create({
    engine,
    spec,
    tasks: run.scenario.tasks,
    metric: run.scenario.metric,
    rows: run.rows,
    settings: config,
    cohort: run.cohort.size,
    ...initial,
    ...(config.saveSubmissions && { keepSubmissions: writeSubmissions.bind(undefined, face, folder) }),
    cache,
    log: context.log,
  });
}

/** What says how a run was made; the environment record comes first, because it marks the folder as a run's. */
async function writeRunRecords(run: OpenRun, folder: string): Promise<void> {
  await writeJsonFile(path.join(folder, RUN_FILES.environment), environmentRecord(run));
  await writeTextFile(path.join(folder, RUN_FILES.config), stringifyConfig(run.config));
  await writeJsonFile(path.join(folder, RUN_FILES.partition), partitionRecord(run.partition, run.config));
}

function announceRun(run: OpenRun, federation: Federation, context: RunContext): void {
  const { config, engine, scenario } = run;
  const { info } = engine;
  context.log.info(
    `${config.method} on ${config.scenario}: ${METHODS[config.method].summary}\n` +
      `${plural(scenario.tasks.length, 'task')}, ${plural(federation.plan.nClients, 'client')}, ` +
      `${plural(federation.plan.adapters.length, 'adapter')} ` +
      `of ${federation.layout.size} values; ${info.family} (${run.model.id}) on ${info.device} in ${info.dtype}, ` +
      `cohort ${run.cohort.size}: ${run.cohort.reason}`,
  );
}

/**
 * All rounds. The untuned backbone is evaluated once the first round has trained: training shall not wait for it. Its
 * records come first all the same.
 */
async function runRounds(
  run: OpenRun,
  federation: Federation,
  folder: string,
  context: RunContext,
  untuned?: readonly TaskScore[],
): Promise<{ last: RoundOutcome | undefined; before: readonly TaskScore[] }> {
  const { rounds } = federation;
  const evaluateUntuned = async (): Promise<readonly TaskScore[]> => {
    const before = untuned ?? (await stoppable(federation.evaluateInitial(context.signal), 0, rounds, folder));
    await new Journal(path.join(folder, RUN_FILES.metrics)).append(evalRecords(0, before));
    return before;
  };
  if (rounds === 0) {
    const before = await evaluateUntuned();
    await saveAdapters(run, federation, folder, 0, federation.initialAssignment());
    return { last: undefined, before };
  }
  let last: RoundOutcome | undefined;
  let before: readonly TaskScore[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    last = await stoppable(federation.round(round, context.signal), round - 1, rounds, folder);
    if (round === 1) before = await evaluateUntuned();
    await saveRound(run, federation, folder, last);
    context.log.info(roundLine(rounds, last));
  }
  return { last, before };
}

/** `metrics.jsonl` goes last: its `round_done` record says that the round is complete. */
async function saveRound(run: OpenRun, federation: Federation, folder: string, outcome: RoundOutcome): Promise<void> {
  const { round, assignment, proof } = outcome;
  const saved = round % run.config.saveEvery === 0 || round === federation.rounds;
  if (saved) await saveAdapters(run, federation, folder, round, assignment);
  const assigned = assignmentRecord(round, assignment);
  const records = await withProof(roundRecords(outcome), proof, assigned, saved ? roundFile(folder, round) : undefined);
  await new Journal(path.join(folder, RUN_FILES.assignments)).append([assigned]);
  await new Journal(path.join(folder, RUN_FILES.metrics)).append(records);
}

async function saveAdapters(
  run: OpenRun,
  federation: Federation,
  folder: string,
  round: number,
  assignment: RoundAssignment,
): Promise<void> {
  const { trueTasks } = assignment;
  // Where members of one cluster hold different adapters the file has each of them, under its own number.
  const labels = federation.membersEqual ? assignment.labels : assignment.labels.map((_, i) => i);
  const states = federation.clusterStates();
  const { layout, held } = federation;
  const absent = held.length === labels.length ? {} : { held };
  await writeRoundAdapters(run.face, folder, { round, layout, states, labels, trueTasks, ...absent });
}

/**
 * Each task's final adapter as a PEFT directory. Where the holders of a task hold different ones, it is the one with
 * the most of the task's samples behind it, and the log says so.
 */
async function writeFinal(run: OpenRun, federation: Federation, folder: string, context: RunContext): Promise<void> {
  const { layout } = federation;
  const states = federation.clusterStates();
  const holdings = federation.holdings();
  const clustered = METHODS[run.config.method].grouping !== 'none' && federation.membersEqual;
  for (const [index, { name }] of run.scenario.tasks.entries()) {
    const leading = leadingCluster(holdings, index);
    if (leading === undefined) continue;
    const { cluster, share, clusters } = leading;
    if (clusters > 1) {
      context.log.info(
        `final/${name}: the task's clients hold ${clusters} different adapters; written is that of ` +
          `${clustered ? `cluster ${cluster}` : 'the client'} with ${(100 * share).toFixed(0)} % of the task's samples`,
      );
    }
    await writePeftDirectory(run.face, finalFolder(folder, name), {
      layout,
      flat: states.get(cluster)!,
      spec: run.spec,
      base: run.model,
      output: run.engine.info.output,
    });
  }
}

function roundLine(rounds: number, outcome: RoundOutcome): string {
  const losses = outcome.local.flatMap((report) => [...report.losses]);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const { clusteringAccuracy } = outcome.assignment;
  const parts = [
    ...(losses.length === 0 ? [] : [`loss ${mean.toFixed(3)}`]),
    ...(clusteringAccuracy === null ? [] : [`clustering accuracy ${score(clusteringAccuracy)}`]),
    ...(outcome.scores ?? []).map(({ task, metric }) => `${task} ${score(metric)}`),
  ];
  return `round ${outcome.round}/${rounds}: ${parts.join(', ')} (${formatSeconds(outcome.seconds)})`;
}

/** How errors that leave the complete rounds as they are begin. */
const STOPS: Partial<Record<ErrorCode, string>> = { ABORTED: 'stopped', OUT_OF_MEMORY: 'memory ran out' };

/** Turns a stop inside a round into one that says what the folder holds. */
async function stoppable<T>(work: Promise<T>, saved: number, rounds: number, folder: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const stop = error instanceof FltacError ? STOPS[error.code] : undefined;
    if (!(error instanceof FltacError) || stop === undefined) throw error;
    const what =
      saved === 0
        ? `no round was complete; ${folder} holds the run's settings`
        : `${saved === 1 ? 'round 1 is' : `rounds 1 to ${saved} are`} saved in ${folder}`;
    const why = error.code === 'ABORTED' ? '' : `\n${error.message}`;
    throw new FltacError(error.code, `${stop} in round ${saved + 1} of ${rounds}: ${what}${why}`, { cause: error });
  }
}
