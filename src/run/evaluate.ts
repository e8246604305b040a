/** `fltac evaluate`: the metric of any saved round of a run, evaluated as the run evaluated it. */
import path from 'node:path';
import type { MetricName } from '../data/scenario.js';
import { evaluateHoldings, type Evaluation, type PairResult, type TaskScore } from '../federation/evaluation.js';
import { METRICS, rowsOf } from '../federation/metrics.js';
import { assertRunOptions } from './arguments.js';
import { assertWritable, writeTextFile } from './files.js';
import type { OpenRun, RunContext } from './open.js';
import { chooseTasks, findRound, openSavedRound, readRunConfig, type SavedRound } from './saved.js';

export interface EvaluateRunOptions {
  /** a run's folder */
  folder: string;
  /** default: the last saved round; 0 is the untuned backbone */
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
  tasks: readonly TaskScore[];
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
  assertRunOptions(options, context, 'evaluateRun');
  const found = await findRound(options.folder, options.round);
  const config = readRunConfig(found.folder);
  const predictions = options.predictions === undefined ? undefined : path.resolve(options.predictions);
  if (predictions !== undefined) await assertWritable(predictions);
  const maxEvalBatches = options.maxEvalBatches ?? config.maxEvalBatches;
  const saved = await openSavedRound(found, { ...config, maxEvalBatches }, context);
  try {
    const { run } = saved;
    const { scores, pairs } = await evaluateSaved(saved, chooseTasks(run, options.tasks), context);
    if (predictions !== undefined) await writeTextFile(predictions, predictionLines(run, pairs));
    return {
      folder: found.folder,
      method: config.method,
      round: found.round,
      metric: run.scenario.metric,
      tasks: scores,
      ...(predictions === undefined ? {} : { predictions }),
    };
  } finally {
    saved.dispose();
  }
}

/** Evaluates what clients hold of a saved round, as the run did. @throws as `evaluateHoldings` */
export async function evaluateSaved(
  { run, bank, holdings }: SavedRound,
  wanted: readonly number[],
  context: RunContext,
): Promise<Evaluation> {
  const { engine, config, scenario } = run;
  return evaluateHoldings({
    engine,
    bank,
    tasks: scenario.tasks,
    metric: scenario.metric,
    holdings: holdings.filter((holding) => wanted.includes(holding.task)),
    limit: config.maxEvalBatches * config.evalBatchSize,
    batchSize: config.evalBatchSize,
    signal: context.signal,
    log: context.log,
  });
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
