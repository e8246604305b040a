/** `fltac bench train` */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { MODEL_SHAPES } from '../../bench/model-shapes.js';
import type { Padding } from '../../bench/train.js';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey } from '../../config/index.js';
import { assertWritable } from '../../run/files.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList } from '../arguments.js';
import { assertPython, deliver } from '../bench-result.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';
import { formatTrainBench } from '../train-bench-text.js';
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
the training needs. With a peer, losses without dropout are compared step by step; exit code 1 where they do not agree, or
the peer is absent. Ratios mean something on an idle machine only; where the figures show that it was not, a line says so.

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
    .addOption(
      new Option('--peer <names>', 'what runs beside fltac, or none').choices([...PEERS, 'none']).argParser(peerList),
    )
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
    const peft = peer !== undefined && peer.length > 0;
    if (peft || command.getOptionValueSource('python') === 'cli') await assertPython(python, process.env);
    const { benchTrain } = await import('../../bench/train.js');
    const options = { peft, paddings: padding, python, shape, tasks, adapters, repeat, lossSteps };
    const report = await interruptible(log, (signal) => benchTrain(config, options, { log, signal }), 'stopping');
    const failed = report.absent.length > 0 || report.agreement.some(({ agrees }) => !agrees);
    if (failed) setExitCode(ExitCode.failed);
    await deliver(io, { format, out }, report, (shown) => formatTrainBench(shown, tableStyle(io)));
  });
}

function peerList(text: string): string[] {
  if (text === 'none') return [];
  const wrong = nameList(text).find((name) => !PEERS.includes(name));
  if (wrong === undefined) return nameList(text);
  throw new InvalidArgumentError(`Expected "none" or some of ${PEERS.join(', ')}, found ${wrong}.`);
}

/** A parser of some of these names, with commas between them. */
function listOf<Name extends string>(names: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const wrong = nameList(text).find((name) => !names.some((known) => known === name));
    if (wrong === undefined) return nameList(text) as Name[];
    throw new InvalidArgumentError(`Expected some of ${names.join(', ')}, found ${wrong}.`);
  };
}
