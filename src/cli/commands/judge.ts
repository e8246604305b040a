/** `fltac judge` */
import type { Command } from 'commander';
import { createLog } from '../../run/log.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption, integerFrom, nameList, numberWithin } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import { printResult, tableStyle } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Environment: OPENAI_API_KEY, sent to the endpoint only; OPENAI_BASE_URL (default https://api.openai.com/v1), any
OpenAI-compatible endpoint. The judge sees prompt and answer, not the reference. Scores are written as JSONL as they
come; the same command again asks only for what is missing. docs/generate-and-judge.md tells more.

Examples:
  fltac judge results/dolly_fltac/answers_round_10.jsonl --model gpt-4o-mini
  fltac judge answers.jsonl --model my-judge --base-url http://localhost:8000/v1 --concurrency 8
  fltac judge answers.jsonl --model gpt-4o-mini --tasks open_qa --format json`;

interface Options extends FormatOptions {
  model: string;
  baseUrl?: string;
  output?: string;
  overwrite?: boolean;
  tasks?: string[];
  concurrency: number;
  timeout: number;
  seed: number;
  maxTokens: number;
}

export function addJudge(program: Command, { io }: CommandContext): void {
  program
    .command('judge')
    .summary('score generated answers from 0 to 1 with a judge model')
    .description('Asks a judge model for a score from 0 to 1 of each answer that fltac generate wrote.')
    .argument('<answers>', 'the JSONL file of fltac generate')
    .requiredOption('--model <name>', "the judge's name at the endpoint")
    .option('--base-url <url>', 'OpenAI-compatible endpoint (default: OPENAI_BASE_URL)')
    .option('--output <file>', 'where the scores go (default: <answers>.scores.jsonl beside the answers)')
    .option('--overwrite', 'replace earlier scores instead of asking for what is missing')
    .option('--tasks <name,…>', 'tasks to judge (default: all in the file)', nameList)
    .option('--concurrency <n>', 'requests at a time', integerFrom(1), 4)
    .option('--timeout <seconds>', 'most time for one request', numberWithin({ above: 0, max: 86_400 }), 120)
    .option('--seed <n>', 'sent with each request', integerFrom(0), 42)
    .option('--max-tokens <n>', 'most tokens of a reply; raise it for judges that think aloud', integerFrom(1), 256)
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (answers: string, { format, baseUrl, timeout, ...options }: Options) => {
      const log = createLog({ stream: io.stderr, env: io.env });
      const [{ judgeAnswers }, { judgeEndpoint }, { formatScoresOfJudge }] = await Promise.all([
        import('../../judge/judge.js'),
        import('../../judge/settings.js'),
        import('../judge-text.js'),
      ]);
      const endpoint = () => judgeEndpoint({ baseUrl, timeoutMs: timeout * 1000 }, io.env);
      const outcome = await interruptible(log, (signal) =>
        judgeAnswers({ ...options, answers, endpoint }, { log, signal }),
      );
      printResult(io, format, outcome, (done) => formatScoresOfJudge(done, tableStyle(io)));
      log.info(`the scores are in ${outcome.path}`);
    });
}
