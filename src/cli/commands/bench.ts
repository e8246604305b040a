/** `fltac bench kmeans|train` */
import type { Command } from 'commander';
import type { KmeansReport, KmeansShape } from '../../bench/kmeans.js';
import type { TrainReport } from '../../bench/train.js';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey } from '../../config/index.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom } from '../arguments.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const KEYS: readonly ConfigKey[] = [
  'scenario',
  'model_name',
  'n_clients',
  'local_steps',
  'lora_rank',
  'lora_dropout',
  'batch_size',
  'max_len',
  'seed',
  'cache_dir',
  'device',
  'dtype',
];

const KMEANS_EXAMPLES = `
Examples:
  fltac bench kmeans                                       50 adapters of BERT-base size
  fltac bench kmeans --rows 80 --columns 532480 --k 8 --format json`;

const TRAIN_EXAMPLES = `
Examples:
  fltac bench train                                        on the quickstart's model
  fltac bench train --scenario glue --local-steps 20 --override threads=1 tasks=sst2`;

export function addBench(program: Command, context: CommandContext): void {
  const bench = program.command('bench').summary('measure K-means or local training').description('Measures speed.');
  addKmeans(bench, context);
  addTrainBench(bench, context);
}

function addKmeans(bench: Command, { io }: CommandContext): void {
  bench
    .command('kmeans')
    .summary('time one K-means over adapters')
    .description('Times K-means over a made-up matrix of adapters, one row each.')
    .option('--rows <n>', 'adapters', integerFrom(1), 50)
    .option('--columns <d>', 'values of an adapter', integerFrom(1), 148_994)
    .option('--k <k>', 'clusters', integerFrom(1), 5)
    .option('--n-init <n>', 'k-means++ starts', integerFrom(1), 10)
    .option('--repeat <n>', 'timed runs, after an untimed one', integerFrom(1), 5)
    .option('--seed <n>', 'seed of the data and the starts', integerFrom(0), 42)
    .option('--threads <n>', 'CPU threads; 0 takes OMP_NUM_THREADS, or else all cores', integerFrom(0), 0)
    .addOption(formatOption())
    .addHelpText('after', KMEANS_EXAMPLES)
    .action(async ({ format, ...shape }: FormatOptions & KmeansShape) => {
      const { benchKmeans } = await import('../../bench/kmeans.js');
      const log = createLog({ stream: io.stderr, env: io.env });
      const report = await interruptible(log, (signal) => benchKmeans(shape, signal));
      printResult(io, format, report, kmeansText);
    });
}

function addTrainBench(bench: Command, { io }: CommandContext): void {
  const command = bench
    .command('train')
    .summary('time one local fine-tune')
    .description('Times one local fine-tune: local_steps steps of the first client and task that have data.')
    .addOption(formatOption())
    .addHelpText('after', TRAIN_EXAMPLES);
  addConfigOptions(command, KEYS).action(async ({ format }: FormatOptions) => {
    const { config, warnings } = loadConfig(configSources(command, io.env));
    const log = createLog({ stream: io.stderr, env: io.env });
    for (const warning of warnings) log.warn(warning);
    const { benchTrain } = await import('../../bench/train.js');
    const report = await interruptible(log, (signal) => benchTrain(config, { log, signal }));
    printResult(io, format, report, trainText);
  });
}

function kmeansText(report: KmeansReport): string {
  const { rows, columns, k, nInit, milliseconds, inertia, iterations, path, repeat } = report;
  const { least, median, most } = milliseconds;
  return lines([
    ['data', `${rows} x ${columns}, k ${k}, ${nInit} starts`],
    ['time', `${median.toFixed(1)} ms (median of ${repeat}; ${least.toFixed(1)} to ${most.toFixed(1)})`],
    ['path', path],
    ['inertia', inertia.toPrecision(8)],
    ['iterations', String(iterations)],
  ]);
}

function trainText(report: TrainReport): string {
  const { model, task, client, steps, batchSize, examples, tokens, seconds } = report;
  return lines([
    ['model', model],
    ['work', `${steps} steps of ${batchSize} on ${task}, client ${client}: ${examples} examples, ${tokens} tokens`],
    ['time', `${seconds.toFixed(2)} s`],
    ['speed', `${report.examplesPerSecond.toFixed(1)} examples/s, ${report.tokensPerSecond.toFixed(0)} tokens/s`],
    ['loss', `${report.firstLoss.toFixed(4)} first, ${report.lastLoss.toFixed(4)} last`],
  ]);
}

function lines(rows: readonly (readonly [string, string])[]): string {
  return rows.map(([name, value]) => `${name.padEnd(10)}  ${value}`).join('\n');
}
