/** `fltac study rank` */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey } from '../../config/index.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom } from '../arguments.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const KEYS: readonly ConfigKey[] = [
  'scenario',
  'model_name',
  'lr',
  'batch_size',
  'max_len',
  'max_eval_batches',
  'lora_dropout',
  'cache_dir',
  'device',
  'dtype',
];

const EXAMPLES = `
Examples:
  fltac study rank                                       on the quickstart: a few minutes on two cores
  fltac study rank --ranks 1,4 --seeds 1 --steps 24      a quick look
  fltac study rank --scenario glue --override tasks=sst2,mrpc --steps 200 --out studies/rank`;

interface Options extends FormatOptions {
  ranks: number[];
  seeds: number[];
  steps: number;
  out?: string;
}

export function addStudy(program: Command, { io }: CommandContext): void {
  const study = program
    .command('study')
    .summary('small studies of why adapters are kept per task')
    .description('Small studies.');
  const command = study
    .command('rank')
    .summary('what rank a shared adapter needs, against one a task')
    .description(
      'Trains one adapter for all tasks and one a task, centrally on the same batches, at several ranks: the question of ' +
        "the paper's Fig. 3. The scaling alpha / rank is held at the configured one.",
    )
    .addOption(listOption('--ranks <list>', 'ranks with commas between them', 1, [1, 2, 4, 8, 16]))
    .addOption(listOption('--seeds <list>', 'seeds with commas between them', 0, [1, 2, 3]))
    .option('--steps <n>', 'optimizer steps on each task', integerFrom(1), 72)
    .option('--out <folder>', 'write rank.json and rank.svg there, too')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command, KEYS).action(async ({ format, out, ...options }: Options) => {
    const { config, warnings } = loadConfig(configSources(command, io.env));
    const log = createLog({ stream: io.stderr, env: io.env });
    for (const warning of warnings) log.warn(warning);
    const [{ studyRank }, { rankText }, { saveStudy }] = await Promise.all([
      import('../../study/rank.js'),
      import('../../study/rank-figure.js'),
      import('../../study/save.js'),
    ]);
    const save = out === undefined ? undefined : await saveStudy(out);
    const found = await interruptible(log, (signal) => studyRank(config, options, { log, signal }));
    await save?.(found);
    printResult(io, format, found, (shown) => rankText(shown, tableStyle(io)));
    if (out !== undefined) log.info(`the study's files are in ${out}`);
  });
}

/** An option of different integers from `min` up, whose default is shown as it would be typed. */
function listOption(flags: string, description: string, min: number, values: readonly number[]): Option {
  return new Option(flags, description).argParser(integerList(min)).default(values, values.join());
}

/** `1,2,4` as different integers from `min` up. */
function integerList(min: number): (text: string) => number[] {
  const parse = integerFrom(min);
  return (text) => {
    const values = text.split(',').map(parse);
    if (new Set(values).size === values.length) return values;
    throw new InvalidArgumentError('Expected different numbers.');
  };
}
