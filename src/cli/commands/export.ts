/** `fltac export` */
import { Option, type Command } from 'commander';
import type { ExportFormat, ExportOutcome } from '../../export/export.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, integerList, nameList } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  fltac export results/glue_fltac                            PEFT directories of every task's adapter, after the last round
  fltac export results/glue_fltac --as merged --tasks sst2   a whole model for transformers
  fltac export results/glue_fltac --clusters 0,2 --round 10 --out adapters
  fltac export results/glue_fltac --tasks sst2 --push me/bert-sst2-fltac    needs HF_TOKEN`;

interface Options extends FormatOptions {
  as: ExportFormat;
  round?: number;
  tasks?: string[];
  clusters?: number[];
  out?: string;
  overwrite?: boolean;
  push?: string;
  public?: boolean;
}

export function addExport(program: Command, { io }: CommandContext): void {
  program
    .command('export')
    .summary("take a run's adapters home: PEFT directories or merged models")
    .description(
      "Writes the adapters of a saved round as PEFT directories, or folded into the backbone's weights as models for " +
        'transformers, each with a model card; and pushes them to the Hugging Face Hub where that is asked for.',
    )
    .argument('<run>', "a run's folder, as train leaves it")
    .addOption(
      new Option('--as <form>', 'an adapter for PEFT, or a whole model').choices(['peft', 'merged']).default('peft'),
    )
    .option('--round <t>', 'which saved round (default: the last)', integerFrom(0))
    .option('--tasks <name,…>', "tasks whose adapters are exported (default: all of the run's)", nameList)
    .addOption(
      new Option('--clusters <c,…>', 'in place of tasks: clusters by number').argParser(integerList).conflicts('tasks'),
    )
    .option('--out <folder>', "takes a folder for each adapter (default: exported/<form> of the run's folder)")
    .option('--overwrite', 'write into folders below --out that hold something else than an earlier export')
    .option('--push <org/name>', 'push to this Hub repository, with -<adapter> at its end where there are several')
    .option('--public', 'make new repositories public (default: private)')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (folder: string, { format, as, push, public: isPublic = false, ...options }: Options) => {
      const log = createLog({ stream: io.stderr, env: io.env });
      const [{ exportRun }, { pushTarget, pushExported }] = await Promise.all([
        import('../../export/export.js'),
        import('../../export/push.js'),
      ]);
      const target = push === undefined ? undefined : pushTarget(push, io.env, isPublic);
      const outcome = await interruptible(log, async (signal) => {
        const done = await exportRun({ folder, format: as, ...options }, { log, signal });
        const pushed = target === undefined ? [] : await pushExported(done.exported, target, { log, signal });
        return { ...done, pushed };
      });
      printResult(io, format, outcome, exportText);
    });
}

function exportText({ exported, pushed }: ExportOutcome & { pushed: readonly string[] }): string {
  const width = Math.max(...exported.map(({ name }) => name.length));
  const lines = exported.map(({ name, cluster, folder }) => `${name.padEnd(width)}  cluster ${cluster}  ${folder}`);
  return [...lines, ...pushed.map((url) => `pushed to ${url}`)].join('\n');
}
