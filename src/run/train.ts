/** `fltac train`: one method over all rounds into a run's folder, then the baseline, where one is asked for. */
import path from 'node:path';
import type { RunConfig } from '../config/schema.js';
import { FltacError, messageOf } from '../errors.js';
import type { EvaluationCache, TaskScore } from '../federation/evaluation.js';
import { assertRunConfig } from './arguments.js';
import type { CheckpointRecord } from './checkpoint.js';
import { prepareRunFolder, withRunFolder } from './folder.js';
import { silentLog } from './log.js';
import { runMethod, type MethodContext, type MethodRun, type Place } from './method.js';
import { openRun, type OpenRun } from './open.js';
import type { TaskOutcome, TrainOutcome } from './outcome.js';
import { beganWith, findCheckpoint, keepCohort, type Resume } from './resume.js';

/** Without `log` the run is silent, without `signal` nothing stops it. */
export interface TrainContext extends Partial<MethodContext> {
  /** replaces an earlier run in the output folder */
  overwrite?: boolean;
  /** goes on with the run in the output folder; auto: or begins one where there is none */
  resume?: Resume;
}

/**
 * Trains as the configuration says and leaves the files of docs/file-formats.md in `config.outputDir`. The folder is proved
 * writable, and a run in it that is to be resumed checked to be of the same configuration, before anything is
 * downloaded; an earlier run in it is deleted only once model, data and adapters are ready; a round's files are
 * written when the round is complete, and its checkpoint last.
 *
 * @throws FltacError USAGE or IO for the folder; USAGE or FORMAT for a run that cannot be resumed; ABORTED (saying what
 *   was saved and how to go on) once `context.signal` is aborted; any error of the model, the data or the training
 */
export async function trainRun(config: RunConfig, context: TrainContext = {}): Promise<TrainOutcome> {
  assertRunConfig(config, 'trainRun');
  const { overwrite = false, resume = false, ...rest } = context;
  const { log = silentLog(), signal = new AbortController().signal } = context;
  if (overwrite && resume !== false) {
    throw new FltacError('USAGE', 'a run is either resumed or overwritten: expected resume or overwrite, found both');
  }
  const existing = overwrite ? 'replace' : resume === false ? 'refuse' : 'continue';
  return withRunFolder(config.outputDir, existing, async (folder) => {
    const from = resume === false ? undefined : await findCheckpoint(folder, config, { resume, log });
    return trainInto({ folder, home: folder, from }, config, { ...rest, log, signal });
  });
}

async function trainInto(place: Place, config: RunConfig, context: MethodContext): Promise<TrainOutcome> {
  let run: OpenRun | undefined;
  try {
    run = keepCohort(await openRun(config, context, beganWith(place.from)), place.from);
    const cache: EvaluationCache = new Map();
    const main = await runMethod(run, place, context, cache);
    const baseline = await runBaseline(run, place, context, cache, main);
    await drawReport(config, place.folder, context);
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

/** The run is done whatever becomes of its picture. */
async function drawReport(config: RunConfig, folder: string, { log }: MethodContext): Promise<void> {
  if (!config.report) return;
  try {
    const { writeReport } = await import('../report/report.js');
    await writeReport([folder]);
  } catch (error) {
    log.warn(`report.html could not be made (fltac report ${folder} tries again): ${messageOf(error)}`);
  }
}

function metricOf(scores: readonly TaskScore[], task: string): number | null {
  return scores.find((entry) => entry.task === task)?.metric ?? null;
}

/** The same rounds with `baseline_method`, each task at the full local steps, in a run folder of its own. */
async function runBaseline(
  run: OpenRun,
  { folder: home }: Place,
  context: MethodContext,
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
  // A run that begins has deleted an earlier one's; what is there is this run's own.
  const folder = await prepareRunFolder(path.join(home, name), 'continue');
  const from: CheckpointRecord | undefined = await findCheckpoint(folder, config, { ...context, resume: 'auto' });
  return runMethod({ ...run, config }, { folder, home, from }, context, cache, main.untuned);
}
