/** `fltac partition` */
import type { Command } from 'commander';
import { loadConfig } from '../../config/index.js';
import type { ConfigKey, RunConfig } from '../../config/index.js';
import { FltacError } from '../../errors.js';
import type { DataContext } from '../../data/scenario.js';
import type { Partition } from '../../federation/partition.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { addConfigOptions, configSources } from '../config-options.js';
import { interruptible } from '../interrupt.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const KEYS: readonly ConfigKey[] = ['scenario', 'n_clients', 'dirichlet_alpha', 'min_frac', 'seed'];

const EXAMPLES = `
Training on dolly holds out a twentieth of each task's rows first. The rows of custom tasks are counted in their files.

Examples:
  fltac partition --scenario glue
  fltac partition --scenario glue --n-clients 5 --override partition_order=sorted tasks=sst2,rte
  fltac partition --scenario dolly --format json
  fltac partition --config configs/glue_bert.yaml --save partition.csv`;

export function addPartition(program: Command, { io }: CommandContext): void {
  const command = program
    .command('partition')
    .summary("show how a scenario's rows are split over the clients")
    .description(
      'Prints how many training rows of each task each client holds. Downloads nothing, but for custom tasks on the Hub.',
    )
    .addOption(formatOption())
    .option('--save <file>', 'write the table there as CSV, too')
    .addHelpText('after', EXAMPLES);
  addConfigOptions(command, KEYS).action(async ({ format, save }: FormatOptions & { save?: string }) => {
    const { config } = loadConfig(configSources(command, io.env));
    const [{ formatPartitionTable, partitionCsv }, { writeTextFile }] = await Promise.all([
      import('../../federation/partition.js'),
      import('../../run/files.js'),
    ]);
    const log = createLog({ stream: io.stderr, env: io.env });
    const partition = await interruptible(log, (signal) => makePartition(config, { log, signal }));
    if (save !== undefined) await writeTextFile(save, partitionCsv(partition));
    const shown = format === 'json' ? partitionJson(config, partition) : partition;
    printResult(io, format, shown, () => formatPartitionTable(partition));
    if (save !== undefined) io.stderr.write(`wrote ${save}\n`);
  });
}

async function makePartition(config: RunConfig, context: DataContext): Promise<Partition> {
  const [{ partitionTasks }, { knownTaskSizes }] = await Promise.all([
    import('../../federation/partition.js'),
    import('../../data/scenario.js'),
  ]);
  const { scenario, tasks, nClients, dirichletAlpha, minFrac, seed, partitionOrder: order } = config;
  const sizes =
    scenario === 'custom'
      ? await (await import('../../data/custom.js')).customTaskSizes(config, context)
      : knownTaskSizes(scenario, tasks);
  if (sizes === undefined) {
    throw new FltacError('INTERNAL', `the row counts of ${scenario} (${tasks.join(', ')}) are not known`);
  }
  return partitionTasks(sizes, { nClients, dirichletAlpha, minFrac, seed, order });
}

function partitionJson(config: RunConfig, { tasks, rows }: Partition): object {
  const { scenario, seed, dirichletAlpha, minFrac, partitionOrder } = config;
  const sizes = rows.map((client) => client.map((part) => part.length));
  const named = (counts: readonly number[]) => ({
    rows: Object.fromEntries(tasks.map((task, index) => [task, counts[index]!])),
    total: counts.reduce((sum, count) => sum + count, 0),
  });
  const totals = tasks.map((_, task) => sizes.reduce((sum, client) => sum + client[task]!, 0));
  return {
    scenario,
    seed,
    dirichlet_alpha: dirichletAlpha,
    min_frac: minFrac,
    partition_order: partitionOrder,
    clients: sizes.map((counts, client) => ({ client, ...named(counts) })),
    all: named(totals),
  };
}
