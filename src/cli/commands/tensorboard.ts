/** `fltac tensorboard` */
import type { Command } from 'commander';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  fltac tensorboard results/glue_fltac results/glue_fedit    then: tensorboard --logdir results
  fltac train --config configs/glue_bert.yaml --override tensorboard=true    writes them as the run goes`;

export function addTensorboard(program: Command, { io }: CommandContext): void {
  program
    .command('tensorboard')
    .summary("write a run's curves as TensorBoard event files")
    .description(
      "Writes runs' losses, metrics and clustering scores as event files for TensorBoard, into tensorboard/ of each folder.",
    )
    .argument('<run...>', 'folders of runs, as train leaves them')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (folders: string[], { format }: FormatOptions) => {
      const { writeRunEvents } = await import('../../tensorboard/run-events.js');
      const files: string[] = [];
      for (const folder of folders) files.push(await writeRunEvents(folder));
      printResult(io, format, { files }, (done) => done.files.join('\n'));
    });
}
