/** `fltac judge`: scores of generated answers by a judge model, into a JSONL file that can be continued. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { z } from 'zod';
import { readObjects } from '../data/jsonl.js';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';
import { withResumableFile, type ResumableFile } from '../run/resumable.js';
import { ChatClient, RequestRefused } from './chat.js';
import { judgeMessages, promptFingerprint } from './prompt.js';
import { parseScore } from './score.js';
import { sendsKeyInTheClear, type JudgeEndpoint } from './settings.js';
import { summarise, type ScoreSummary } from './summary.js';

export interface JudgeOptions {
  /** path of the answers, as generate writes them; only task, row, prompt and answer are read */
  answers: string;
  /** the judge's name at the endpoint */
  model: string;
  /** or what gives it once the answers have been read: without them nobody needs a key */
  endpoint: JudgeEndpoint | (() => JudgeEndpoint);
  /** path of the scores; default: <answers>.scores.jsonl beside the answers */
  output?: string | undefined;
  /** starts anew instead of asking for what is missing */
  overwrite?: boolean | undefined;
  /** default: all tasks in the file */
  tasks?: readonly string[] | undefined;
  /** requests at a time */
  concurrency: number;
  /** sent with each request, for endpoints that know it */
  seed: number;
  /** most tokens of a reply */
  maxTokens: number;
}

/** With the endpoint at hand. */
type Settled = JudgeOptions & { endpoint: JudgeEndpoint };

export interface JudgeContext {
  log: Log;
  signal: AbortSignal;
}

const TEMPERATURE = 0;
/** refusals after which a judge that has not replied once is given up */
const MOST_REFUSED = 3;

const Answer = z.object({ task: z.string(), row: z.int().min(0), prompt: z.string(), answer: z.string() });
type Answer = z.infer<typeof Answer>;

const Score = z.object({
  task: z.string(),
  row: z.int().min(0),
  /** null where the reply holds no score, or the endpoint refused the request */
  score: z.number().min(0).max(1).nullable(),
  /** the judge's reply as it came; null where there is none */
  reply: z.string().nullable(),
  /** why the endpoint refused the request */
  refused: z.string().nullable(),
  /** SHA-256 of prompt and answer: a score belongs to the answer it was given for */
  answer_sha256: z.string(),
});
type Score = z.infer<typeof Score>;

export interface TaskScores extends ScoreSummary {
  task: string;
  answers: number;
  scored: number;
  /** replies that hold no score */
  unparsable: number;
  /** requests that the endpoint refused */
  refused: number;
}

export interface JudgeOutcome {
  /** absolute path of the scores */
  path: string;
  judge: string;
  /** requests answered in this call */
  asked: number;
  /** in the order in which tasks appear in the answers */
  tasks: readonly TaskScores[];
  /** all scores together */
  all: Omit<TaskScores, 'task'>;
}

/**
 * Asks for the scores that are missing and appends each as it comes. Replies without a score are kept as they are and
 * counted, never taken for 0.
 *
 * @throws FltacError USAGE for arguments that do not fit; FORMAT for answers that cannot be read; NETWORK and ABORTED,
 *   saying what is kept
 */
export async function judgeAnswers(given: JudgeOptions, context: JudgeContext): Promise<JudgeOutcome> {
  const answers = await readAnswers(path.resolve(given.answers), given.tasks);
  const endpoint = typeof given.endpoint === 'function' ? given.endpoint() : given.endpoint;
  const options: Settled = { ...given, endpoint };
  if (sendsKeyInTheClear(endpoint)) {
    context.log.warn(`the API key goes to ${endpoint.baseUrl} unencrypted: use https`);
  }
  return withResumableFile(scoresFile(options, context), (file) => judgeMissing(answers, file, options, context));
}

async function judgeMissing(
  answers: readonly Answer[],
  file: ResumableFile<Score>,
  options: Settled,
  context: JudgeContext,
): Promise<JudgeOutcome> {
  const scores = new Map(file.earlier.map((score) => [keyOf(score), score]));
  assertSameAnswers(answers, scores, file.path);
  const missing = answers.filter((answer) => !scores.has(keyOf(answer)));
  if (missing.length < answers.length) {
    context.log.info(`${file.path} has ${answers.length - missing.length} of ${answers.length} scores already`);
  }
  if (missing.length > 0) await new Judging(options, file, scores, context).run(missing);
  return {
    path: file.path,
    judge: options.model,
    asked: missing.length,
    tasks: [...new Set(answers.map(({ task }) => task))].map((task) => ({
      task,
      ...countScores(
        answers.filter((answer) => answer.task === task),
        scores,
        task,
      ),
    })),
    all: countScores(answers, scores, ''),
  };
}

function keyOf({ task, row }: { task: string; row: number }): string {
  return `${task}\0${row}`;
}

function hashOf({ prompt, answer }: Answer): string {
  return createHash('sha256').update(`${prompt}\0${answer}`).digest('hex');
}

/** @throws FltacError IO; FORMAT naming the line; USAGE for a task that is not there */
async function readAnswers(file: string, tasks: readonly string[] | undefined): Promise<Answer[]> {
  const answers = new Map<string, Answer>();
  for await (const { row, place } of readObjects(file)) {
    const answer = Answer.safeParse(row);
    if (!answer.success) {
      const faults = z.prettifyError(answer.error).replaceAll(/\s*\n\s*/g, ' ');
      throw new FltacError('FORMAT', `${place}: expected an answer as fltac generate writes it: ${faults}`);
    }
    const key = keyOf(answer.data);
    if (answers.has(key)) {
      throw new FltacError('FORMAT', `${place}: a second answer to row ${answer.data.row} of ${answer.data.task}`);
    }
    answers.set(key, answer.data);
  }
  if (answers.size === 0) throw new FltacError('FORMAT', `${file} holds no answers`);
  const there = [...new Set([...answers.values()].map(({ task }) => task))];
  const unknown = (tasks ?? []).filter((task) => !there.includes(task));
  if (unknown.length > 0) {
    throw new FltacError('USAGE', `${file} has no task ${unknown.join(', ')}; its tasks are ${there.join(', ')}`);
  }
  return [...answers.values()].filter(({ task }) => (tasks ?? there).includes(task));
}

function scoresFile(options: Settled, context: JudgeContext): Parameters<typeof withResumableFile<Score, unknown>>[0] {
  const beside = `${options.answers.replace(/\.jsonl$/, '')}.scores.jsonl`;
  return {
    path: path.resolve(options.output ?? beside),
    settings: {
      judge: options.model,
      endpoint: options.endpoint.baseUrl,
      wording: promptFingerprint(),
      temperature: TEMPERATURE,
      seed: options.seed,
      max_tokens: options.maxTokens,
    },
    what: 'scores',
    overwrite: options.overwrite ?? false,
    schema: Score,
    ...context,
  };
}

function assertSameAnswers(answers: readonly Answer[], scores: ReadonlyMap<string, Score>, file: string): void {
  for (const answer of answers) {
    const score = scores.get(keyOf(answer));
    if (score === undefined || score.answer_sha256 === hashOf(answer)) continue;
    throw new FltacError(
      'USAGE',
      `${file} holds a score of another answer to row ${answer.row} of ${answer.task}: the answers were made anew since; ` +
        'choose another --output, or give --overwrite to judge them anew',
    );
  }
}

function countScores(answers: readonly Answer[], scores: ReadonlyMap<string, Score>, name: string) {
  const own = answers.flatMap((answer) => scores.get(keyOf(answer)) ?? []);
  const values = own.flatMap(({ score }) => score ?? []);
  const refused = own.filter((score) => score.refused !== null).length;
  return {
    answers: answers.length,
    scored: values.length,
    unparsable: own.length - values.length - refused,
    refused,
    ...summarise(values, name),
  };
}

/** Some workers that share one queue of answers; the first failure stops them all. */
class Judging {
  readonly #options: Settled;
  readonly #file: ResumableFile<Score>;
  readonly #scores: Map<string, Score>;
  readonly #context: JudgeContext;
  readonly #refusals: { answer: Answer; error: RequestRefused }[] = [];

  /** @param scores those there are; new ones are added */
  constructor(options: Settled, file: ResumableFile<Score>, scores: Map<string, Score>, context: JudgeContext) {
    this.#options = options;
    this.#file = file;
    this.#scores = scores;
    this.#context = context;
  }

  async run(missing: readonly Answer[]): Promise<void> {
    const { endpoint, concurrency } = this.#options;
    const { log, signal } = this.#context;
    const stop = new AbortController();
    const client = new ChatClient(endpoint, { log, signal: AbortSignal.any([signal, stop.signal]) });
    const bar = log.progress('scores', missing.length);
    const before = this.#scores.size;
    const queue = [...missing];
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      try {
        for (let answer = queue.shift(); answer; answer = queue.shift()) {
          await this.#judge(client, answer);
          bar.update(this.#scores.size - before);
        }
      } catch (error) {
        failures.push(error);
        stop.abort();
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(concurrency, missing.length) }, worker));
      if (failures.length > 0) throw failures[0];
      await this.#keepRefusals();
    } catch (error) {
      throw this.#withKept(error, before, missing.length);
    } finally {
      bar.done();
      await client.close();
    }
  }

  async #judge(client: ChatClient, answer: Answer): Promise<void> {
    const { model, seed, maxTokens } = this.#options;
    const messages = judgeMessages(answer.prompt, answer.answer);
    try {
      const reply = await client.ask({ model, messages, temperature: TEMPERATURE, seed, max_tokens: maxTokens });
      await this.#keep(answer, { score: parseScore(reply), reply, refused: null });
    } catch (error) {
      if (!(error instanceof RequestRefused)) throw error;
      this.#refusals.push({ answer, error });
      if (this.#refusals.length >= MOST_REFUSED && !this.#hasReplied()) throw error;
    }
  }

  /** A refusal is about one answer where others got a reply; where none did, it is about the way all are asked. */
  async #keepRefusals(): Promise<void> {
    const [first] = this.#refusals;
    if (first !== undefined && !this.#hasReplied()) throw first.error;
    for (const { answer, error } of this.#refusals) {
      this.#context.log.warn(`row ${answer.row} of ${answer.task} has no score: ${error.message}`);
      await this.#keep(answer, { score: null, reply: null, refused: error.message });
    }
  }

  #hasReplied(): boolean {
    return [...this.#scores.values()].some((score) => score.reply !== null);
  }

  async #keep(answer: Answer, found: Pick<Score, 'score' | 'reply' | 'refused'>): Promise<void> {
    const { task, row } = answer;
    const score = { task, row, ...found, answer_sha256: hashOf(answer) };
    await this.#file.append([score]);
    this.#scores.set(keyOf(answer), score);
  }

  /** The error, and what the file holds all the same. */
  #withKept(error: unknown, before: number, wanted: number): unknown {
    if (!(error instanceof FltacError)) return error;
    const kept = `${this.#scores.size - before} of ${wanted} scores were added to ${this.#file.path}`;
    const what = error.code === 'ABORTED' ? 'stopped' : error.message;
    return new FltacError(error.code, `${what}: ${kept}; the same command asks only for the rest`, { cause: error });
  }
}
