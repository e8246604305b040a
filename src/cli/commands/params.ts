/** `fltac params` */
import type { Command } from 'commander';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey } from '../../config/index.js';
import type { ParamsReport } from '../../models/params.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const KEYS: readonly ConfigKey[] = [
  'scenario',
  'model_name',
  'n_clients',
  'dirichlet_alpha',
  'min_frac',
  'seed',
  'lora_rank',
  'cache_dir',
];

const EXAMPLES = `
Examples:
  fltac params --scenario glue
  fltac params --scenario cifar
  fltac params --scenario glue --lora-rank 8 --override target_modules=[query,key,value]
  fltac params --config configs/glue_bert.yaml --model-name ./my-bert --format json`;

export function addParams(program: Command, { io }: CommandContext): void {
  const command = program
    .command('params')
    .summary('count trained parameters and bytes uploaded, by method')
    .description(
      "Counts each method's trained parameters and what a client uploads in a round, from the model's shapes, which the " +
        'compiled engine derives from its config.json: no weights are read. For glue, cifar and dolly also the published counts, with their derivation.',
    )
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command, KEYS).action(async ({ format }: FormatOptions) => {
    const { config } = loadConfig(configSources(command, io.env));
    const log = createLog({ stream: io.stderr, env: io.env });
    const { countParameters } = await import('../../models/params.js');
    const report = await interruptible(log, (signal) => countParameters(config, { log, signal }));
    const { formatParams } = await import('../params-text.js');
    printResult(io, format, report, (counts: ParamsReport) => formatParams(counts, tableStyle(io)));
  });
}
