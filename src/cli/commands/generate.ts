/** `fltac generate` */
import type { Command } from 'commander';
import type { GenerateOutcome, TaskAnswers } from '../../generate/generate.js';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList, numberWithin } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Answers are written as JSONL, batch by batch: {task, row, prompt, reference, answer, finished, cluster, round}. The same
command again makes only what is missing. docs/generate-and-judge.md tells more.

Examples:
  fltac generate results/dolly_fltac
  fltac generate results/dolly_fltac --round 5 --tasks open_qa,summarization --limit 20
  fltac generate results/dolly_fltac --round 0 --output untuned.jsonl      the untuned backbone
  fltac generate huggyllama/llama-7b --override max_len=256 --output untuned.jsonl
  fltac generate results/dolly_fltac --temperature 0.7 --top-p 0.9 --seed 1 --output sampled.jsonl`;

interface Options extends FormatOptions {
  round?: number;
  tasks?: string[];
  limit?: number;
  output?: string;
  overwrite?: boolean;
  maxNewTokens: number;
  temperature: number;
  topP: number;
  seed: number;
  batchSize: number;
  config?: string;
  override?: string[];
}

export function addGenerate(program: Command, { io }: CommandContext): void {
  program
    .command('generate')
    .summary("answer held-out prompts with a run's adapters")
    .description(
      "Lets a language model answer the held-out prompts of each task, with the adapter that the task's clients hold.",
    )
    .argument('<run or model>', "a run's folder, as train leaves it; or a Hub id or folder of a model as it is")
    .option('--round <t>', 'which saved round; 0 is the untuned backbone (default: the last)', integerFrom(0))
    .option('--tasks <name,…>', 'tasks to answer (default: all)', nameList)
    .option('--limit <n>', 'most prompts a task, from the first (default: those that are evaluated)', integerFrom(1))
    .option(
      '--output <file>',
      "where the answers go (default: answers_round_<t>.jsonl in the run's folder, or answers_<model>.jsonl)",
    )
    .option('--overwrite', 'replace earlier answers instead of making what is missing')
    .option('--max-new-tokens <n>', 'most tokens of an answer', integerFrom(1), 256)
    .option('--temperature <t>', '0 takes the most likely token, above draws', numberWithin({ min: 0 }), 0)
    .option('--top-p <p>', 'draw from the likeliest tokens of this share', numberWithin({ above: 0, max: 1 }), 1)
    .option('--seed <n>', 'names the draws', integerFrom(0), 42)
    .option('--batch-size <n>', 'prompts answered in one pass', integerFrom(1), 8)
    .option('--config <file>', 'of a model: YAML file with config keys (scenario, max_len, …)')
    .option('--override <key=value...>', 'of a model: set config keys; the scenario is dolly unless they say otherwise')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (source: string, { format, override, ...options }: Options) => {
      const log = createLog({ stream: io.stderr, env: io.env });
      const [{ generateAnswers }, { formatTable }] = await Promise.all([
        import('../../generate/generate.js'),
        import('../../run/table.js'),
      ]);
      const outcome = await interruptible(log, (signal) =>
        generateAnswers({ ...options, source, overrides: override }, { log, signal }),
      );
      printResult(io, format, outcome, (done) => {
        const rows = done.tasks.map((task) => cells(task));
        const head = ['task', 'cluster', 'answers', 'new', 'ended by themselves'];
        return `${title(done)}\n\n${formatTable(head, rows, tableStyle(io))}\n\n${examples(done)}`;
      });
      log.info(`the answers are in ${outcome.path}`);
    });
}

function title({ model, round }: GenerateOutcome): string {
  return round === 0 ? `${model}, untuned` : `${model}, after round ${round}`;
}

function cells({ task, cluster, answers, made, finished }: TaskAnswers): string[] {
  return [task, cluster === null ? '-' : String(cluster), String(answers), String(made), String(finished)];
}

/** The first answer of each task, on one line each. */
function examples({ tasks }: GenerateOutcome): string {
  return tasks
    .flatMap(({ task, example }) => (example === null ? [] : [`${task}, row ${example.row}: ${shown(example.answer)}`]))
    .join('\n');
}

function shown(answer: string): string {
  const text = JSON.stringify(answer);
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
