/** `fltac generate`: answers to the held-out prompts of a language model's tasks, into a JSONL file that can be continued. */
import path from 'node:path';
import { z } from 'zod';
import { CausalTokenizer } from '../data/causal-tokenizer.js';
import type { HeldOutPrompts } from '../data/scenario.js';
import type { GenerateJob, GenerateResult } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { assertNotAborted } from '../federation/checks.js';
import { streamKey } from '../federation/streams.js';
import type { RunContext } from '../run/open.js';
import { withResumableFile, type ResumableFile, type Settings } from '../run/resumable.js';
import { chooseTasks } from '../run/saved.js';
import { findSource, type AnsweringTask, type Source, type SourceOptions } from './source.js';

export interface GenerateAnswersOptions extends SourceOptions {
  /** default: all tasks */
  tasks?: readonly string[] | undefined;
  /** most prompts of a task, from the first held-out row on; default: those that the run evaluates */
  limit?: number | undefined;
  /** path of the answers; default: answers_round_<t>.jsonl in the run's folder; of a model answers_<name>.jsonl here */
  output?: string | undefined;
  /** starts anew instead of making what is missing */
  overwrite?: boolean | undefined;
  /** most tokens of an answer */
  maxNewTokens: number;
  /** 0: always the most likely token */
  temperature: number;
  /** with a temperature: draws only from the most likely tokens that together reach this probability */
  topP: number;
  /** with a temperature: names the draws */
  seed: number;
  /** prompts answered in one pass, and written together */
  batchSize: number;
}

const Answer = z.object({
  task: z.string(),
  /** evaluation row of the task */
  row: z.int().min(0),
  prompt: z.string(),
  /** the answer that the data give */
  reference: z.string(),
  answer: z.string(),
  /** whether the model ended the answer by itself */
  finished: z.boolean(),
  /** cluster whose adapter answered; null for a model as it is */
  cluster: z.int().nullable(),
  round: z.int().min(0),
});
export type Answer = z.infer<typeof Answer>;

export interface TaskAnswers {
  task: string;
  cluster: number | null;
  /** answers in the file, of this call's rows */
  answers: number;
  /** made by this call */
  made: number;
  /** ended by the model itself, not cut at max_new_tokens */
  finished: number;
  /** the first of them */
  example: Answer | null;
}

export interface GenerateOutcome {
  /** absolute path of the answers */
  path: string;
  model: string;
  round: number;
  /** in listed order */
  tasks: readonly TaskAnswers[];
}

/** One prompt that is still to be answered. */
interface Pending {
  from: AnsweringTask;
  /** evaluation row */
  row: number;
}

/**
 * Generates what is missing and appends it batch by batch, so that a stop loses at most one batch. The adapter that
 * answers a task is the one with most of the task's samples behind it.
 *
 * @throws FltacError USAGE for a source, task or output that does not suit; ABORTED, saying what is kept; any error of the
 *   model or the data
 */
export async function generateAnswers(options: GenerateAnswersOptions, context: RunContext): Promise<GenerateOutcome> {
  assertSampling(options);
  const found = await findSource(options);
  const source = await found.open(context);
  try {
    const tasks = answeringTasks(source, options.tasks);
    const tokenizer = await CausalTokenizer.open(source.run.model.folder, source.run.config.maxLen);
    const where = {
      path: options.output === undefined ? source.defaultPath : path.resolve(options.output),
      settings: { ...source.settings, ...samplingSettings(options) },
      what: 'answers',
      overwrite: options.overwrite ?? false,
      schema: Answer,
      ...context,
    };
    return await withResumableFile(where, (file) =>
      answerMissing({ source, tasks, tokenizer, file, options, context }),
    );
  } finally {
    source.dispose();
  }
}

function assertSampling({ maxNewTokens, temperature, topP, batchSize, limit = 1 }: GenerateAnswersOptions): void {
  const faults = [
    ...[maxNewTokens, batchSize, limit].flatMap((value, i) =>
      Number.isInteger(value) && value >= 1
        ? []
        : `${['maxNewTokens', 'batchSize', 'limit'][i]!} must be an integer, 1 or more, not ${value}`,
    ),
    ...(temperature >= 0 && temperature < Infinity ? [] : [`temperature must be 0 or more, not ${temperature}`]),
    ...(topP > 0 && topP <= 1 ? [] : [`topP must lie above 0 and be at most 1, not ${topP}`]),
  ];
  if (faults.length > 0) throw new FltacError('USAGE', faults.join('; '));
}

/** What one call works with. */
interface Work {
  source: Source;
  /** the chosen tasks */
  tasks: readonly AnsweringTask[];
  tokenizer: CausalTokenizer;
  file: ResumableFile<Answer>;
  options: GenerateAnswersOptions;
  context: RunContext;
}

async function answerMissing(work: Work): Promise<GenerateOutcome> {
  const { source, tasks, file, options, context } = work;
  const { model, config } = source.run;
  const limit = options.limit ?? config.maxEvalBatches * config.evalBatchSize;
  const earlier = new Map(file.earlier.map((answer) => [keyOf(answer.task, answer.row), answer]));
  const wanted = tasks.flatMap((from) => rowsOf(from, limit).map((row) => ({ from, row })));
  const isAnswered = ({ from, row }: Pending) => earlier.has(keyOf(from.task.name, row));
  await assertSamePrompts(wanted.filter(isAnswered), earlier, file.path);
  const missing = wanted.filter((pending) => !isAnswered(pending));
  if (missing.length < wanted.length) {
    context.log.info(`${file.path} has ${wanted.length - missing.length} of ${wanted.length} answers already`);
  }
  const made = await answerAll(missing, work);
  const answers = wanted.flatMap(({ from, row }) => {
    const key = keyOf(from.task.name, row);
    return earlier.get(key) ?? made.get(key) ?? [];
  });
  return {
    path: file.path,
    model: model.id,
    round: source.round,
    tasks: tasks.map((from) => summarise(from, answers, made)),
  };
}

/** @throws FltacError USAGE where an answer is to another prompt or reference than the data give now */
async function assertSamePrompts(
  answered: readonly Pending[],
  earlier: ReadonlyMap<string, Answer>,
  path: string,
): Promise<void> {
  for (const { from, rows } of groupByTask(answered)) {
    const { texts, references } = await promptsOf(from, rows);
    const changed = rows.findIndex((row, p) => {
      const answer = earlier.get(keyOf(from.task.name, row));
      return answer?.prompt !== texts[p] || answer?.reference !== references[p];
    });
    if (changed < 0) continue;
    throw new FltacError(
      'USAGE',
      `${path} holds an answer to another prompt for row ${rows[changed]!} of ${from.task.name}: the data have changed ` +
        'since; choose another --output, or give --overwrite to make it anew',
    );
  }
}

/** The chosen tasks. @throws FltacError USAGE for one that the run does not have */
function answeringTasks({ run, tasks }: Source, names: readonly string[] | undefined): readonly AnsweringTask[] {
  const chosen = chooseTasks(run, names).map((index) => run.scenario.tasks[index]!);
  return tasks.filter(({ task }) => chosen.includes(task));
}

/** Draws do not matter where nothing is drawn. */
function samplingSettings({ maxNewTokens, temperature, topP, seed }: GenerateAnswersOptions): Settings {
  const draws = temperature > 0;
  return { max_new_tokens: maxNewTokens, temperature, top_p: draws ? topP : null, seed: draws ? seed : null };
}

function rowsOf({ task }: AnsweringTask, limit: number): number[] {
  return Array.from({ length: Math.min(limit, task.evalRows) }, (_, row) => row);
}

function keyOf(task: string, row: number): string {
  return `${task}\0${row}`;
}

function summarise(
  { task, cluster }: AnsweringTask,
  all: readonly Answer[],
  made: ReadonlyMap<string, Answer>,
): TaskAnswers {
  const own = all.filter((answer) => answer.task === task.name);
  return {
    task: task.name,
    cluster,
    answers: own.length,
    made: own.filter(({ row }) => made.has(keyOf(task.name, row))).length,
    finished: own.filter((answer) => answer.finished).length,
    example: own[0] ?? null,
  };
}

async function answerAll(missing: readonly Pending[], work: Work): Promise<Map<string, Answer>> {
  const { file, options, context } = work;
  const made = new Map<string, Answer>();
  if (missing.length === 0) return made;
  const bar = context.log.progress('answers', missing.length);
  try {
    for (let from = 0; from < missing.length; from += options.batchSize) {
      assertNotAborted(context.signal);
      const batch = missing.slice(from, from + options.batchSize);
      const answers = await answerBatch(batch, work, (done) => bar.update(from + done));
      await file.append(answers);
      for (const answer of answers) made.set(keyOf(answer.task, answer.row), answer);
    }
  } catch (error) {
    if (!(error instanceof FltacError) || error.code !== 'ABORTED') throw error;
    const kept = `${file.earlier.length + made.size} answers are in ${file.path}`;
    throw new FltacError('ABORTED', `stopped: ${kept}; the same command makes the rest`, { cause: error });
  } finally {
    bar.done();
  }
  return made;
}

/** Answers prompts of one or several tasks in one pass of the engine. */
async function answerBatch(
  batch: readonly Pending[],
  { source, tokenizer, options, context }: Work,
  onProgress: (done: number) => void,
): Promise<Answer[]> {
  const { run, bank, round } = source;
  const parts = await Promise.all(groupByTask(batch).map((part) => preparePart(part, options)));
  const results = await run.engine.generate(
    bank,
    parts.map((part) => part.job),
    {
      maxNewTokens: options.maxNewTokens,
      eosIds: tokenizer.eosIds,
      temperature: options.temperature,
      topP: options.topP,
      batchSize: options.batchSize,
      signal: context.signal,
      onProgress,
    },
  );
  const answers = await Promise.all(
    parts.map(async ({ from, rows, prompts }, i) => {
      const texts = await tokenizer.decode(answerIds(results[i]!));
      return texts.map((answer, p): Answer => ({
        task: from.task.name,
        row: rows[p]!,
        prompt: prompts.texts[p]!,
        reference: prompts.references[p]!,
        answer,
        finished: results[i]!.finished[p] === 1,
        cluster: from.cluster,
        round,
      }));
    }),
  );
  return answers.flat();
}

interface Part {
  from: AnsweringTask;
  rows: Int32Array;
}

interface PreparedPart extends Part {
  prompts: HeldOutPrompts;
  job: GenerateJob;
}

function groupByTask(batch: readonly Pending[]): Part[] {
  const tasks = [...new Set(batch.map(({ from }) => from))];
  return tasks.map((from) => {
    const own = batch.filter((pending) => pending.from === from);
    return { from, rows: Int32Array.from(own, ({ row }) => row) };
  });
}

async function preparePart({ from, rows }: Part, { temperature, seed }: GenerateAnswersOptions): Promise<PreparedPart> {
  const { task, row } = from;
  const prompts = await promptsOf(from, rows);
  const { ids, offsets } = prompts;
  const streams = BigUint64Array.from(rows, (number) => streamKey(seed, 'answer', task.name, number));
  const job = { row, prompts: { ids, offsets }, ...(temperature > 0 && { streams }) };
  return { from, rows, prompts, job };
}

async function promptsOf({ task }: AnsweringTask, rows: Int32Array): Promise<HeldOutPrompts> {
  if (task.evalPrompts === undefined) throw new FltacError('INTERNAL', `task ${task.name} has no prompts`);
  return task.evalPrompts(rows);
}

function answerIds({ ids, offsets, finished }: GenerateResult): number[][] {
  return Array.from(finished, (_, i) => [...ids.subarray(offsets[i], offsets[i + 1])]);
}
