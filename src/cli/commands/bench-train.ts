/** `fltac bench train` */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { MODEL_SHAPES } from '../../bench/model-shapes.js';
import type { Padding } from '../../bench/train.js';
import type { TrainReport, TrainSide } from '../../bench/train-report.js';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey } from '../../config/index.js';
import { assertWritable, writeJsonFile } from '../../run/files.js';
import { createLog } from '../../run/log.js';
import { formatTable } from '../../run/table.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList } from '../arguments.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';
import { ExitCode } from '../../errors.js';

const KEYS: readonly ConfigKey[] = [
  'scenario',
  'model_name',
  'local_steps',
  'lora_rank',
  'lora_dropout',
  'lr',
  'batch_size',
  'max_len',
  'seed',
  'cache_dir',
  'device',
  'dtype',
];

const PEERS = ['peft'];
const PADDINGS: readonly Padding[] = ['max_len', 'longest'];

const EXAMPLES = `
Every side works in a process of its own, in turn, after an untimed run. A ratio is the peer's time divided by fltac's in
the same round (the median is shown); utilisation is of the machine's best float32 matrix product, by the operations that
the training needs. With a peer, losses without dropout are compared step by step; exit code 1 where they do not agree.

Examples:
  fltac bench train                                        on the quickstart's model and tasks
  fltac bench train --peer peft --python .venv/bin/python  beside transformers + PEFT
  fltac bench train --scenario glue --model-name sentence-transformers/all-MiniLM-L6-v2 --local-steps 12 --peer peft
  fltac bench train --scenario glue --shape bert-base --tasks sst2 --peer peft --out train.json`;

interface Options extends FormatOptions {
  peer?: string[];
  padding: Padding[];
  python: string;
  shape?: string;
  tasks?: string[];
  adapters: number;
  repeat: number;
  lossSteps: number;
  out?: string;
}

export function addTrainBench(bench: Command, { io, setExitCode }: CommandContext): void {
  const command = bench
    .command('train')
    .summary('time local fine-tunes, beside PEFT')
    .description(
      'Times local fine-tunes of local_steps steps on rows of all tasks in equal parts, alone or beside a peer.',
    )
    .addOption(new Option('--peer <names>', 'what runs beside fltac').choices(PEERS).argParser(listOf(PEERS)))
    .addOption(
      new Option('--padding <names>', 'what a peer fills batches up to, each in turn')
        .choices(PADDINGS)
        .argParser(listOf(PADDINGS))
        .default([...PADDINGS], PADDINGS.join()),
    )
    .option('--python <program>', 'the Python that has torch, transformers and peft', 'python3')
    .addOption(
      new Option('--shape <name>', "made-up weights of this shape, with the model's tokenizer").choices(
        Object.keys(MODEL_SHAPES),
      ),
    )
    .option(
      '--tasks <names>',
      'tasks, with commas (default: the key tasks; without it sst2,mrpc,rte,qnli of glue, else all)',
      nameList,
    )
    .option('--adapters <n>', 'adapters trained, each from the start', integerFrom(1), 1)
    .option('--repeat <n>', 'timed runs, after an untimed one', integerFrom(1), 3)
    .option('--loss-steps <n>', 'steps whose losses are compared with the peer; 0 compares none', integerFrom(0), 30)
    .option('--out <file>', 'writes the report as JSON, too')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command, KEYS).action(async (given: Options) => {
    const { format, out, peer, padding, python, shape, adapters, repeat, lossSteps } = given;
    const { config, given: keys, warnings } = loadConfig(configSources(command, io.env));
    const tasks = given.tasks ?? (keys.has('tasks') ? config.tasks : undefined);
    const log = createLog({ stream: io.stderr, env: io.env });
    for (const warning of warnings) log.warn(warning);
    if (out !== undefined) await assertWritable(out);
    const { benchTrain } = await import('../../bench/train.js');
    const options = { peft: peer !== undefined, paddings: padding, python, shape, tasks, adapters, repeat, lossSteps };
    const report = await interruptible(log, (signal) => benchTrain(config, options, { log, signal }));
    if (out !== undefined) await writeJsonFile(out, report);
    printResult(io, format, report, (shown) => trainText(shown, tableStyle(io)));
    if (report.agreement.some(({ agrees }) => !agrees)) setExitCode(ExitCode.failed);
  });
}

/** A parser of some of these names, with commas between them. */
function listOf<Name extends string>(names: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const wrong = nameList(text).find((name) => !names.some((known) => known === name));
    if (wrong === undefined) return nameList(text) as Name[];
    throw new InvalidArgumentError(`Expected some of ${names.join(', ')}, found ${wrong}.`);
  };
}

function trainText(report: TrainReport, style: ReturnType<typeof tableStyle>): string {
  const { model, work, machine, sides, absent, agreement } = report;
  const made = model.randomWeights ? ', random weights' : '';
  const size = `${model.numLayers} layers of ${model.hiddenSize}`;
  const adapters = work.adapters === 1 ? '' : `${work.adapters} adapters of `;
  const peak = machine.gemmFlops === null ? '' : `, ${(machine.gemmFlops / 1e9).toFixed(0)} GFLOP/s`;
  return [
    `${model.id} (${size}${made}), ${work.dtype}, rank ${work.rank}; ${work.threads} threads${peak}`,
    `${work.tasks.join(', ')}: ${adapters}${work.steps} steps of ${work.batchSize}, ` +
      `${(work.tokens / (work.steps * work.adapters)).toFixed(0)} real tokens a step; medians of ${work.repeat}`,
    '',
    formatTable(
      ['', 'time', 'examples/s', 'tokens/s', 'utilisation', 'peak memory', 'x fltac'],
      sides.map((side) => sideCells(side, work.maxLen)),
      style,
    ),
    ...agreement.map(
      ({ steps, largestDifference, tolerance, agrees }) =>
        `losses of ${steps} steps without dropout ${agrees ? 'agree' : 'DO NOT AGREE'}: ` +
        `at most ${largestDifference.toExponential(1)} apart (tolerance ${tolerance})`,
    ),
    ...absent.map(({ name, reason, remedy }) => `${name} is absent: ${reason}\n  ${remedy}`),
  ].join('\n');
}

function sideCells({ name, padding, seconds, ratio, ...side }: TrainSide, maxLen: number): string[] {
  const title = { none: name, longest: `${name}, padded to the longest`, max_len: `${name}, padded to ${maxLen}` };
  return [
    title[padding],
    `${seconds.median.toFixed(2)} s`,
    side.examplesPerSecond.toFixed(1),
    side.tokensPerSecond.toFixed(0),
    side.flopUtilisation === null ? '-' : `${(100 * side.flopUtilisation).toFixed(1)} %`,
    side.peakBytes === null ? '-' : `${(side.peakBytes / 2 ** 20).toFixed(0)} MiB`,
    ratio === null ? '1' : ratio.toFixed(2),
  ];
}
