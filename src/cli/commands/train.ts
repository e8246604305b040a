/** `fltac train` */
import { Option, type Command } from 'commander';
import { loadConfig } from '../../config/index.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { addConfigOptions, configSources, overrideHelp } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import { resumeSources } from '../resume.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  fltac train
  fltac train --config configs/glue_bert.yaml
  fltac train --config configs/glue_bert.yaml --rounds 5 --lr 1e-3 --override weights=uniform tasks=sst2,rte
  fltac train --scenario glue --model-name ./my-bert --output-dir results/mine --format json
  fltac train --resume results/glue_fltac                # goes on with a run that was interrupted
  fltac train --resume results/glue_fltac --rounds 30    # or adds rounds to one that was not
  fltac train --config configs/glue_bert.yaml --resume auto  # begins, or goes on: for a job that is started again`;

const QUICKSTART =
  'no scenario given: running the quickstart that comes with fltac; ' +
  'for a real one: fltac train --config configs/glue_bert.yaml';

export function addTrain(program: Command, { io }: CommandContext): void {
  const command = program
    .command('train')
    .summary('run federated rounds; without a scenario, the quickstart')
    .description(
      'Runs federated rounds and leaves metrics, adapters and the resolved config in the output folder. ' +
        'Without a config or a scenario it runs the quickstart, which needs no network.',
    )
    .addOption(formatOption())
    .option('--overwrite', 'replace an earlier run in the output folder')
    .addOption(
      new Option(
        '--resume [folder]',
        "go on with the run in a folder, by its config.yaml; without one, in this configuration's output_dir; " +
          'auto: there too, or begin a run where there is none',
      ).conflicts('overwrite'),
    )
    .addHelpText('after', overrideHelp)
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command).action(async (options: FormatOptions & { overwrite?: boolean; resume?: string | true }) => {
    const { sources, resume } = resumeSources(configSources(command, io.env), options.resume);
    const { config, given, warnings } = loadConfig(sources);
    const log = createLog({ stream: io.stderr, env: io.env });
    for (const warning of warnings) log.warn(warning);
    if (!given.has('scenario')) log.info(QUICKSTART);
    const [{ trainRun }, { formatOutcome }] = await Promise.all([
      import('../../run/train.js'),
      import('../../run/table.js'),
    ]);
    const overwrite = options.overwrite ?? false;
    const outcome = await interruptible(log, (signal) => trainRun(config, { log, signal, overwrite, resume }));
    printResult(io, options.format, outcome, (done) => formatOutcome(done, tableStyle(io)));
    log.info(`the run's files are in ${outcome.folder}`);
  });
}
