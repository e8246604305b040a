/** `fltac evaluate` */
import type { Command } from 'commander';
import type { EvaluateOutcome } from '../../run/evaluate.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import type { Io } from '../io.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Examples:
  fltac evaluate results/quickstart_fltac
  fltac evaluate results/glue_fltac --round 10 --tasks sst2,rte --predictions out.jsonl`;

interface Options extends FormatOptions {
  round?: number;
  tasks?: string[];
  predictions?: string;
  maxEvalBatches?: number;
}

export function addEvaluate(program: Command, { io }: CommandContext): void {
  program
    .command('evaluate')
    .summary('evaluate a saved round of a run')
    .description('Evaluates the adapters that the clients of a run hold after a saved round, task by task.')
    .argument('<run>', "a run's folder, as train leaves it")
    .option('--round <t>', 'which saved round; 0 is the untuned backbone (default: the last)', integerFrom(0))
    .option('--tasks <name,…>', "tasks to evaluate (default: all of the run's)", nameList)
    .option(
      '--predictions <file>',
      "write each row's label, prediction and logits there, or its loss and tokens where a language model is trained, as JSONL",
    )
    .option('--max-eval-batches <integer>', "most batches a task (default: the run's max_eval_batches)", integerFrom(1))
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (folder: string, { format, ...options }: Options) => {
      const log = createLog({ stream: io.stderr, env: io.env });
      const [{ evaluateRun }, { floorColumn, formatScores }, { METRICS }] = await Promise.all([
        import('../../run/evaluate.js'),
        import('../../run/table.js'),
        import('../../federation/metrics.js'),
      ]);
      const outcome = await interruptible(log, (signal) => evaluateRun({ folder, ...options }, { log, signal }));
      printResult(io, format, outcome, (done) => {
        const { metric, tasks } = done;
        const own = [METRICS[metric].title, (task: (typeof tasks)[number]) => task.metric] as const;
        return `${title(done)}\n\n${formatScores(metric, tasks, [own, ...floorColumn(metric)], tableStyle(io))}`;
      });
      tellPredictions(io, outcome);
    });
}

function title({ method, round, folder }: EvaluateOutcome): string {
  return `${method}, after round ${round}: ${folder}`;
}

function tellPredictions(io: Io, { predictions }: EvaluateOutcome): void {
  if (predictions !== undefined) io.stderr.write(`the predictions are in ${predictions}\n`);
}
