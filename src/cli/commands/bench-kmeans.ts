/** `fltac bench kmeans` */
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { KMEANS_PRESETS } from '../../bench/kmeans-presets.js';
import { KMEANS_PEERS } from '../../bench/kmeans-report.js';
import type { KmeansPeer } from '../../bench/kmeans-report.js';
import { parseShapes } from '../../bench/kmeans-shapes.js';
import { ExitCode } from '../../errors.js';
import { assertWritable } from '../../run/files.js';
import { createLog, plural } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList, numberWithin } from '../arguments.js';
import { assertPython, deliver } from '../bench-result.js';
import { interruptible } from '../interrupt.js';
import { tableStyle } from '../io.js';
import { formatKmeansBench } from '../kmeans-bench-text.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Presets:
${presetLines()}
Data are made up: K groups of rows around centres with a common part. Each side is a process of its own on the same data;
sides take turns after an untimed run of one start. inertia is computed anew from each side's labels, in float64.
A peer that is absent is left out; exit code 1 where it was asked for by name. Stopped, shapes that are done are printed.

Examples:
  fltac bench kmeans                                               beside whatever peers python3 has
  fltac bench kmeans --shapes 80x532480x8 --peer none --format json
  fltac bench kmeans --shapes adapters --peer sklearn,faiss --python venv/bin/python --out kmeans.json
  fltac bench kmeans --shapes 1000000x64x256:1:25 bert --peer faiss   one start of at most 25 iterations; then a preset`;

interface KmeansFlags extends FormatOptions {
  shapes: string[];
  peer: KmeansPeer[];
  python: string;
  nInit: number;
  maxIter: number;
  tol: number;
  device: 'cpu' | 'cuda';
  repeat: number;
  seed: number;
  threads: number;
  out?: string;
}

export function addKmeansBench(bench: Command, { io, setExitCode }: CommandContext): void {
  const command = bench
    .command('kmeans')
    .summary('time K-means beside other libraries')
    .description('Times K-means by fltac and by sklearn, faiss, torch and flash-kmeans, where they can be had.')
    .addOption(
      new Option('--shapes <shapes...>', 'presets, or [BATCHx]ROWSxCOLUMNSxK[:STARTS[:ITERATIONS]]').default(
        ['bert'],
        'bert',
      ),
    )
    .addOption(
      new Option('--peer <names>', 'peers with commas between them, or none')
        .argParser(peerList)
        .default([...KMEANS_PEERS], 'all of them'),
    )
    .option('--python <path>', 'the Python that has the peers', 'python3')
    .option('--n-init <n>', 'k-means++ starts, where a shape does not say', integerFrom(1), 10)
    .option('--max-iter <n>', 'Lloyd iterations of a start at most, where a shape does not say', integerFrom(1), 300)
    .option('--tol <x>', "as scikit-learn's", numberWithin({ min: 0 }), 1e-4)
    .addOption(new Option('--device <device>', 'where to compute').choices(['cpu', 'cuda']).default('cpu'))
    .option('--repeat <n>', 'timed runs of each side', integerFrom(1), 5)
    .option('--seed <n>', 'seed of the data and the starts', integerFrom(0), 42)
    .option('--threads <n>', 'CPU threads; 0 takes OMP_NUM_THREADS, or else all cores', integerFrom(0), 0)
    .option('--out <file>', 'write what was measured to this file too, as JSON')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES);
  command.action(async ({ format, shapes, peer, out, nInit, maxIter, ...options }: KmeansFlags) => {
    const given = (name: keyof KmeansFlags) => command.getOptionValueSource(name) === 'cli';
    const wanted = parseShapes(shapes, { nInit, maxIter });
    if (out !== undefined) await assertWritable(out);
    if (given('python') || (given('peer') && peer.length > 0)) await assertPython(options.python, io.env);
    const { benchKmeans } = await import('../../bench/kmeans.js');
    const log = createLog({ stream: io.stderr, env: io.env });
    const report = await interruptible(
      log,
      (signal) => benchKmeans({ ...options, shapes: wanted, peers: peer }, { log, signal, env: io.env }),
      'stopping',
    );
    const { partial, sides } = report;
    if (given('peer') && sides.some(({ state }) => state === 'absent')) setExitCode(ExitCode.failed);
    if (partial !== undefined) {
      log.warn(`stopped after ${report.shapes.length} of ${plural(wanted.length, 'shape')}`);
      setExitCode(ExitCode.interrupted);
    }
    await deliver(io, { format, out }, report, (result) => formatKmeansBench(result, tableStyle(io)));
  });
}

function peerList(text: string): KmeansPeer[] {
  if (text === 'none') return [];
  return [...new Set(nameList(text))].map((name) => {
    const peer = KMEANS_PEERS.find((known) => known === name);
    if (peer === undefined) throw new InvalidArgumentError(`Expected "none" or some of ${KMEANS_PEERS.join(', ')}.`);
    return peer;
  });
}

function presetLines(): string {
  return Object.entries(KMEANS_PRESETS)
    .map(([name, { meaning }]) => `  ${name.padEnd(10)} ${meaning}\n`)
    .join('');
}
