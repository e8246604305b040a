import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateAnswers, type Answer, type GenerateAnswersOptions } from '../../src/generate/generate.js';
import { trainRun } from '../../src/run/train.js';
import {
  LANGUAGE_ROWS,
  fakeConfig,
  fakeRun,
  languageConfig,
  languageRun,
  readJsonl,
  type FakeRun,
} from '../run/support.js';
import { FAKE_WORDS } from '../support/fake-scenario.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-generate-'));
  folder = path.join(root, 'run');
});
afterEach(() => rm(root, { recursive: true }));

const TASKS = Object.keys(LANGUAGE_ROWS);
const SETTINGS = { maxNewTokens: 16, temperature: 0, topP: 1, seed: 0, batchSize: 3 };

async function generate(options: Partial<GenerateAnswersOptions> = {}, run: FakeRun = languageRun()) {
  return generateAnswers({ source: folder, ...SETTINGS, ...options }, run.context);
}

const answersOf = async (file: string) => (await readJsonl(file)) as unknown as Answer[];

/** What the made-up engine answers with the adapter of task number `task` (from 0). */
function expectedAnswer(task: number, row: number): Pick<Answer, 'answer' | 'finished'> {
  const last = 3 + (row % 7);
  return { answer: `${FAKE_WORDS[task + 1]!} ${FAKE_WORDS[last - 3]!}`, finished: last % 2 === 0 };
}

describe('generating answers', () => {
  it('answers the evaluated prompts of every task with the adapter that its clients hold', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const run = languageRun();
    const outcome = await generate({}, run);
    expect(outcome).toMatchObject({ path: path.join(folder, 'answers_round_2.jsonl'), model: 'org/fake-lm', round: 2 });
    const answers = await answersOf(outcome.path);
    expect(answers.map(({ task, row }) => [task, row])).toEqual(
      TASKS.flatMap((task) => Array.from({ length: 8 }, (_, row) => [task, row])),
    );
    for (const { cluster, round, task, row, ...answer } of answers) {
      expect(answer, `${task} ${row}`).toEqual({
        prompt: `${task} prompt ${row}`,
        reference: `${task} reference ${row}`,
        ...expectedAnswer(TASKS.indexOf(task), row),
      });
      expect([typeof cluster, round]).toEqual(['number', 2]);
    }
    expect(outcome.tasks.map(({ task, answers: all, made, example }) => [task, all, made, example?.row])).toEqual(
      TASKS.map((task) => [task, 8, 8, 0]),
    );
    expect(outcome.tasks[0]!.finished).toBe(answers.filter((a) => a.task === 'closed_qa' && a.finished).length);
    expect([run.engine.disposed, run.engine.banks.every((bank) => bank.disposed)]).toEqual([true, true]);
  });

  it('batches prompts of several tasks, each with its own adapter', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const run = languageRun();
    await generate({ batchSize: 5 }, run);
    expect(run.engine.answered.map((batch) => batch.length)).toEqual([5, 5, 5, 5, 4]);
    expect(run.engine.answered[1]!.map(({ prompt }) => prompt[0])).toEqual([1, 1, 1, 2, 2]);
    expect(new Set(run.engine.answered[1]!.map(({ row }) => row)).size).toBe(2);
  });

  it('takes the round, tasks, number of prompts and file that are asked for', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const output = path.join(root, 'elsewhere', 'a.jsonl');
    await generate({ round: 1, tasks: ['summarization', 'open_qa'], limit: 100, output });
    const answers = await answersOf(output);
    expect(answers.map(({ task, row, round }) => [task, row, round])).toEqual(
      ['open_qa', 'summarization'].flatMap((task) => Array.from({ length: 10 }, (_, row) => [task, row, 1])),
    );
    expect(existsSync(path.join(folder, 'answers_round_1.jsonl'))).toBe(false);
  });

  it('answers with the untuned backbone for round 0', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const run = languageRun();
    const outcome = await generate({ round: 0, limit: 2 }, run);
    expect(outcome).toMatchObject({ round: 0, path: path.join(folder, 'answers_round_0.jsonl') });
    expect(new Set(run.engine.answered.flat().map(({ row }) => row))).toEqual(new Set([0]));
    expect(run.engine.banks.map((bank) => bank.rows)).toEqual([1]);
  });

  it('answers with a model as it is', async () => {
    const run = languageRun();
    const output = path.join(root, 'untuned.jsonl');
    const outcome = await generate({ source: 'org/fake-lm', output, limit: 1, overrides: ['n_clients=1'] }, run);
    expect(outcome).toMatchObject({ round: 0, model: 'org/fake-lm' });
    expect((await answersOf(output)).map(({ task, cluster, round }) => [task, cluster, round])).toEqual(
      TASKS.map((task) => [task, null, 0]),
    );
  });
});

describe('a second call', () => {
  it('makes only what is missing', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const { path: file } = await generate({ limit: 3 });
    const before = await readFile(file, 'utf8');
    const run = languageRun();
    const outcome = await generate({ limit: 4, batchSize: 64 }, run);
    expect(run.engine.answered.map((batch) => batch.map(({ prompt }) => prompt))).toEqual([
      [
        [1, 6],
        [2, 6],
        [3, 6],
      ],
    ]);
    expect((await readFile(file, 'utf8')).startsWith(before)).toBe(true);
    expect(outcome.tasks.map(({ answers, made }) => [answers, made])).toEqual(TASKS.map(() => [4, 1]));
    expect(run.lines).toContain(`${file} has 9 of 12 answers already`);
    const again = languageRun();
    await generate({ limit: 4 }, again);
    expect(again.engine.answered).toEqual([]);
  });

  it('goes on where a stop came, with what a call without a stop gives', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const whole = path.join(root, 'whole.jsonl');
    const sampled = { temperature: 1, seed: 5 };
    await generate({ output: whole, ...sampled });
    const run = languageRun();
    const answer = run.engine.generate.bind(run.engine);
    run.engine.generate = (bank, jobs, options) => {
      if (run.engine.answered.length === 2) run.controller.abort();
      return answer(bank, jobs, options);
    };
    const file = path.join(root, 'part.jsonl');
    await expect(generate({ output: file, ...sampled, batchSize: 4 }, run)).rejects.toMatchObject({
      code: 'ABORTED',
      message: `stopped: 8 answers are in ${file}; the same command makes the rest`,
    });
    await generate({ output: file, ...sampled, batchSize: 7 });
    expect(await readFile(file, 'utf8')).toBe(await readFile(whole, 'utf8'));
  });

  it.each([
    ['another length', { maxNewTokens: 17 }, '  max_new_tokens: 16 there, 17 now'],
    [
      'a temperature',
      { temperature: 0.5 },
      '  temperature: 0 there, 0.5 now\n  top_p: null there, 1 now\n  seed: null there, 0 now',
    ],
  ])('with %s is refused, naming what differs', async (_, change, shown) => {
    await trainRun(languageConfig(folder), languageRun().context);
    const { path: file } = await generate({ limit: 1 });
    const run = languageRun();
    await expect(generate({ limit: 2, ...change }, run)).rejects.toMatchObject({
      code: 'USAGE',
      message: `${file} holds answers of other settings:\n${shown}\nchoose another --output, or give --overwrite to make it anew`,
    });
    expect([run.engine.answered, run.engine.disposed]).toEqual([[], true]);
    expect((await generate({ limit: 2, ...change, overwrite: true })).tasks.map(({ made }) => made)).toEqual([2, 2, 2]);
  });

  it('does not mix answers to prompts that have changed since', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const { path: file } = await generate({ limit: 1 });
    writeFileSync(file, readFileSync(file, 'utf8').replace('"prompt":"', '"prompt":"another '));
    const run = languageRun();
    await expect(generate({ limit: 2 }, run)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /holds an answer to another prompt for row 0 of \w+: the data have changed/,
      ) as string,
    });
    expect(run.engine.answered).toEqual([]);
  });

  it('does not mix answers of adapters that were trained anew', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const output = path.join(root, 'a.jsonl');
    await generate({ limit: 1, output });
    await trainRun(languageConfig(folder, { lr: 0.01 }), languageRun({ overwrite: true }).context);
    await expect(generate({ limit: 2, output })).rejects.toThrow(/other settings:\n {2}adapters: "[0-9a-f]{64}" there/);
  });

  it('keeps to greedy answers whatever seed and top-p are given', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    await generate({ limit: 1 });
    const run = languageRun();
    await generate({ limit: 2, seed: 9, topP: 0.5 }, run);
    expect(run.engine.answered.flat().map(({ stream }) => stream)).toEqual([undefined, undefined, undefined]);
  });
});

describe('wrong arguments', () => {
  const usage = (message: RegExp) => ({ code: 'USAGE', message: expect.stringMatching(message) as string });

  it('are told before anything is loaded', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const run = languageRun();
    run.context.parts!.resolveModel = () => Promise.reject(new Error('not reached'));
    const ask = (options: Partial<GenerateAnswersOptions>) => generate(options, run);
    await expect(ask({})).rejects.toMatchObject(usage(/is of scenario glue, which classifies: use fltac evaluate/));
    await expect(ask({ round: 9 })).rejects.toMatchObject(usage(/round 9 is not saved/));
    await expect(ask({ config: 'c.yaml' })).rejects.toMatchObject(usage(/is a run, which has its own configuration/));
    await expect(ask({ source: root })).rejects.toMatchObject(usage(/is neither a run's folder nor a model's/));
    await expect(ask({ source: 'org/m', round: 2 })).rejects.toMatchObject(usage(/is a model, which has no rounds/));
    await expect(ask({ source: 'org/m', overrides: ['lr=x'] })).rejects.toMatchObject(usage(/--override lr=x/));
    await expect(ask({ maxNewTokens: 0, temperature: -1, topP: 2 })).rejects.toMatchObject(
      usage(/maxNewTokens must be .* not 0; temperature must be .* not -1; topP must .* not 2/),
    );
  });

  it('name a task that the run does not have, and a place that cannot be written', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    await expect(generate({ tasks: ['sst2'] })).rejects.toMatchObject(usage(/no task sst2; its tasks are closed_qa/));
    await writeFile(path.join(root, 'plain'), '');
    await expect(generate({ output: path.join(root, 'plain', 'a.jsonl') })).rejects.toMatchObject({ code: 'IO' });
  });
});
