/** How fast local fine-tuning goes. */
import { asSequences } from '../engine/examples.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import { drawBatches, streamGenerator, streamKey } from '../federation/streams.js';
import type { Log } from '../run/log.js';
import { openRun } from '../run/open.js';
import type { OpenRun } from '../run/open.js';

export interface TrainReport {
  model: string;
  task: string;
  client: number;
  steps: number;
  batchSize: number;
  /** sequences trained on */
  examples: number;
  tokens: number;
  /** of training alone, without loading and tokenising */
  seconds: number;
  examplesPerSecond: number;
  tokensPerSecond: number;
  firstLoss: number;
  lastLoss: number;
}

/** One local fine-tune of `local_steps` steps: the first client and task that have data. */
export async function benchTrain(config: RunConfig, context: { log: Log; signal: AbortSignal }): Promise<TrainReport> {
  const run = await openRun(config, context);
  try {
    return await fineTune(run, context.signal);
  } finally {
    run.engine.dispose();
  }
}

async function fineTune(run: OpenRun, signal: AbortSignal): Promise<TrainReport> {
  const { config, engine, model, spec } = run;
  const { client, task, rows } = firstWithData(run);
  const random = streamGenerator(config.seed, 'batches', 1, client, task.name);
  const { order, batches } = drawBatches(rows, config.localSteps, config.batchSize, random);
  const sequences = asSequences(await task.trainExamples(order));
  const bank = engine.createBank(spec, 1);
  try {
    bank.initialise(0, streamKey(config.seed, 'initial'));
    const stream = streamKey(config.seed, 'dropout', 1, client, task.name);
    const { lr, weightDecay, gradientCheckpointing } = config;
    const started = performance.now();
    const [result] = await engine.train(bank, [{ row: 0, examples: sequences, batches, stream }], {
      lr,
      weightDecay,
      cohort: 1,
      checkpointing: gradientCheckpointing,
      signal,
    });
    const seconds = (performance.now() - started) / 1000;
    const losses = result!.losses;
    return {
      model: model.id,
      task: task.name,
      client,
      steps: config.localSteps,
      batchSize: config.batchSize,
      examples: order.length,
      tokens: sequences.ids.length,
      seconds,
      examplesPerSecond: order.length / seconds,
      tokensPerSecond: sequences.ids.length / seconds,
      firstLoss: losses[0]!,
      lastLoss: losses.at(-1)!,
    };
  } finally {
    bank.dispose();
  }
}

function firstWithData({ rows, scenario }: OpenRun) {
  for (const [client, held] of rows.entries()) {
    const index = held.findIndex((part) => part.length > 0);
    if (index >= 0) return { client, task: scenario.tasks[index]!, rows: held[index]! };
  }
  throw new FltacError('USAGE', 'no client holds any row: lower min_frac or n_clients');
}
