/** `fltac bench kmeans|train` */
import type { Command } from 'commander';
import type { KmeansReport, KmeansShape } from '../../bench/kmeans.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';
import { addTrainBench } from './bench-train.js';

const KMEANS_EXAMPLES = `
Examples:
  fltac bench kmeans                                       50 adapters of BERT-base size
  fltac bench kmeans --rows 80 --columns 532480 --k 8 --format json`;

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

function lines(rows: readonly (readonly [string, string])[]): string {
  return rows.map(([name, value]) => `${name.padEnd(10)}  ${value}`).join('\n');
}
