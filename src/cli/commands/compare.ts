/** `fltac compare` */
import type { Command } from 'commander';
import { Option } from 'commander';
import { DEFAULT_ENTRIES, DEFAULT_SEEDS, parseEntries, parseSeeds, planRuns } from '../../compare/entries.js';
import { CONFIG_KEYS, keyRow, type ConfigKey } from '../../config/index.js';
import { createLog } from '../../run/log.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Each method may carry config keys of its own after colons, and then is a row of its own: fltac:upload_format=int8.
Every run lies in <output-dir>/<method>/seed_<seed>, a run's folder like any other. The same command again makes only
what is missing. What methods, aggregation and upload formats mean: docs/methods.md.

Examples:
  fltac compare
  fltac compare --config configs/glue_bert.yaml --methods fltac,fedit,fedit:fedit_steps=full --seeds 1,2,3
  fltac compare --methods fltac,fltac:upload_format=int8,fltac:aggregation=delta_w --format markdown
  fltac compare --scenario glue --rounds 5 --output-dir results/glue_compare --format csv > glue.csv`;

const FORMATS = ['text', 'markdown', 'csv', 'json'] as const;

interface Options {
  methods: string;
  seeds: string;
  outputDir?: string;
  format: (typeof FORMATS)[number];
}

/** The flags that compare does not set itself; --output-dir names the folder of all runs. */
const FLAGS: readonly ConfigKey[] = CONFIG_KEYS.filter(
  (key) => keyRow(key).flag && !['method', 'seed', 'output_dir'].includes(key),
);

export function addCompare(program: Command, { io }: CommandContext): void {
  const command = program
    .command('compare')
    .summary('run several methods and seeds and compare them')
    .description(
      'Runs each method with each seed, or takes the runs that are finished already, and prints mean and standard ' +
        'deviation of every task, optimizer steps and bytes, beside majority floors and published scores.',
    )
    .option('--methods <method,…>', 'methods, each with key=value after colons where it differs', DEFAULT_ENTRIES)
    .option('--seeds <n,…>', 'seeds, each for all methods', DEFAULT_SEEDS)
    .option('--output-dir <folder>', 'where the runs go (default: results/compare_<scenario>)')
    .addOption(new Option('--format <format>', 'how results are printed').choices([...FORMATS]).default('text'))
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command, FLAGS).action(async (options: Options) => {
    const sources = configSources(command, io.env);
    const log = createLog({ stream: io.stderr, env: io.env });
    const entries = parseEntries(options.methods);
    const { runs, warnings } = planRuns(sources, entries, parseSeeds(options.seeds), options.outputDir);
    for (const warning of warnings) log.warn(warning);
    const [{ compareRuns }, format] = await Promise.all([
      import('../../compare/compare.js'),
      import('../../compare/format.js'),
    ]);
    const comparison = await interruptible(log, (signal) => compareRuns(runs, { log, signal }));
    const text = {
      text: () => format.formatComparison(comparison, tableStyle(io)),
      markdown: () => format.markdownComparison(comparison),
      csv: () => format.csvComparison(comparison),
      json: () => `${JSON.stringify(comparison, null, 2)}\n`,
    };
    io.stdout.write(text[options.format]());
  });
}
