/** `fltac evaluate`: the metric of any saved round of a run, evaluated as the run evaluated it. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { loadConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError, messageOf } from '../errors.js';
import type { MetricName } from '../data/scenario.js';
import { evaluateHoldings, type PairResult, type TaskScore } from '../federation/evaluation.js';
import { METHODS } from '../federation/methods.js';
import { METRICS, rowsOf } from '../federation/metrics.js';
import { planAdapters, trueTask, type Plan } from '../federation/plan.js';
import { holdingsOf, startRow } from '../federation/round.js';
import { readRoundAdapters, roundFile, type RoundAdapters } from './artifacts.js';
import { assertWritable, writeTextFile } from './files.js';
import { RUN_FILES } from './folder.js';
import { openRun, type OpenRun, type RunContext } from './open.js';

export interface EvaluateRunOptions {
  /** a run's folder */
  folder: string;
  /** default: the last saved round */
  round?: number;
  /** default: all tasks of the run */
  tasks?: readonly string[];
  /**
   * path of a JSONL file that takes {task, row, label, prediction, logits, cluster} of every evaluated row, or
   * {task, row, loss, tokens, cluster} (`loss` the mean over the row's labelled tokens) of a language model's
   */
  predictions?: string;
  /** default: the run's max_eval_batches */
  maxEvalBatches?: number;
}

export interface EvaluateOutcome {
  /** absolute path */
  folder: string;
  method: string;
  round: number;
  /** what the tasks are measured by */
  metric: MetricName;
  /** in listed order */
  tasks: readonly (TaskScore & { majorityFloor: number | null })[];
  /** absolute path of the predictions, where they were asked for */
  predictions?: string;
}

/**
 * Evaluates a saved round: clients hold what the round's file says their submissions' clusters hold, and count by
 * their samples.
 *
 * @throws FltacError USAGE for a folder, round or task that is not there; FORMAT or SHAPE for a round file that does
 *   not belong to the run; ABORTED; any error of the model or the data
 */
export async function evaluateRun(options: EvaluateRunOptions, context: RunContext): Promise<EvaluateOutcome> {
  const folder = path.resolve(options.folder);
  const round = await chooseRound(folder, options.round);
  const config = readConfig(folder, options);
  const predictions = options.predictions === undefined ? undefined : path.resolve(options.predictions);
  if (predictions !== undefined) await assertWritable(predictions);
  const run = await openRun(config, context);
  try {
    const wanted = chooseTasks(run, options.tasks);
    const saved = await readRoundAdapters(run.face, roundFile(folder, round), run.engine.layout(run.spec));
    const { scores, pairs } = await evaluateSaved(run, saved, wanted, context, roundFile(folder, round));
    if (predictions !== undefined) await writeTextFile(predictions, predictionLines(run, pairs));
    const floors = new Map(run.scenario.tasks.map((task) => [task.name, task.majorityFloor]));
    return {
      folder,
      method: config.method,
      round,
      metric: run.scenario.metric,
      tasks: scores.map((entry) => ({ ...entry, majorityFloor: floors.get(entry.task) ?? null })),
      ...(predictions === undefined ? {} : { predictions }),
    };
  } finally {
    run.engine.dispose();
  }
}

async function chooseRound(folder: string, wanted: number | undefined): Promise<number> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw new FltacError('USAGE', `${folder} is not a run's folder: ${messageOf(cause)}`, { cause });
  }
  if (!names.includes(RUN_FILES.config)) {
    throw new FltacError('USAGE', `${folder} is not a run's folder: it has no ${RUN_FILES.config}`);
  }
  const saved = names
    .flatMap((name) => /^adapters_round_(\d+)\.pt$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const last = saved.at(-1);
  if (last === undefined) throw new FltacError('USAGE', `${folder} has no saved round (adapters_round_<t>.pt)`);
  if (wanted === undefined || saved.includes(wanted)) return wanted ?? last;
  throw new FltacError('USAGE', `round ${wanted} is not saved in ${folder}; saved are ${saved.join(', ')}`);
}

function readConfig(folder: string, options: EvaluateRunOptions): RunConfig {
  const { config } = loadConfig({ file: path.join(folder, RUN_FILES.config) });
  return { ...config, maxEvalBatches: options.maxEvalBatches ?? config.maxEvalBatches };
}

/** Indices of the tasks to evaluate. */
function chooseTasks(run: OpenRun, names: readonly string[] | undefined): Set<number> {
  const all = run.scenario.tasks.map((task) => task.name);
  const unknown = (names ?? []).filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    throw new FltacError('USAGE', `the run has no task ${unknown.join(', ')}; its tasks are ${all.join(', ')}`);
  }
  return new Set((names ?? all).map((name) => all.indexOf(name)));
}

async function evaluateSaved(
  run: OpenRun,
  saved: RoundAdapters,
  wanted: ReadonlySet<number>,
  context: RunContext,
  file: string,
) {
  const { engine, spec, config, scenario } = run;
  const plan = planAdapters({
    adapters: METHODS[config.method].adapters,
    tasks: scenario.tasks.map((task) => task.name),
    counts: run.rows.map((client) => client.map((rows) => rows.length)),
    seed: config.seed,
  });
  assertSameSubmissions(plan, saved, file);
  const clusters = [...saved.states.keys()];
  const bank = engine.createBank(spec, clusters.length);
  try {
    startRow(bank, config.seed);
    clusters.forEach((cluster, row) => bank.set(row, saved.states.get(cluster)!));
    const holdings = holdingsOf(plan, saved.labels, (_, label) => clusters.indexOf(label));
    const limit = config.maxEvalBatches * config.evalBatchSize;
    const kept = holdings.filter((holding) => wanted.has(holding.task));
    return await evaluateHoldings({
      engine,
      bank,
      tasks: scenario.tasks,
      metric: scenario.metric,
      holdings: kept,
      limit,
      batchSize: config.evalBatchSize,
      signal: context.signal,
      log: context.log,
    });
  } finally {
    bank.dispose();
  }
}

function assertSameSubmissions(plan: Plan, saved: RoundAdapters, file: string): void {
  const expected = plan.adapters.map((adapter) => trueTask(plan, adapter));
  if (expected.join('\n') === saved.trueTasks.join('\n')) return;
  throw new FltacError(
    'FORMAT',
    `${file} has ${saved.trueTasks.length} submissions (${saved.trueTasks.join(', ')}), ` +
      `but the run's config.yaml makes ${expected.length} (${expected.join(', ')}): they are of different runs`,
  );
}

function predictionLines({ scenario }: OpenRun, pairs: readonly PairResult[]): string {
  return pairs
    .flatMap((pair) =>
      Array.from({ length: rowsOf(pair) }, (_, row) => {
        const { name } = scenario.tasks[pair.task]!;
        const fields = METRICS[scenario.metric].rowFields(pair, row);
        return `${JSON.stringify({ task: name, row, ...fields, cluster: pair.cluster })}\n`;
      }),
    )
    .join('');
}
