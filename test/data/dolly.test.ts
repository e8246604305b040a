import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeConfig } from '../../src/config/load.js';
import { SCENARIOS } from '../../src/config/scenarios.js';
import type { RunConfig } from '../../src/config/schema.js';
import { splitHeldOut } from '../../src/data/held-out.js';
import { alpacaPrompt, type Instruction } from '../../src/data/instructions.js';
import { loadScenario, type Scenario } from '../../src/data/scenario.js';
import { asSequences } from '../../src/engine/examples.js';
import { BOS, EOS, causalModel, idsOf } from '../support/causal-model.js';
import { temporaryFolder } from '../support/files.js';
import { hubOf, keptLog } from '../support/hub.js';
import { startHubServer } from '../support/hub-server.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

type Row = Instruction & { category: string };

const FILE = 'datasets/databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl';
const CATEGORIES = SCENARIOS.dolly.tasks;
const WORDS = [...new Set(alpacaPrompt({ instruction: 'do', context: 'with' }).split(/\s+/)), 'word', 'done'];
const PROMPT = 1 + idsOf(WORDS, alpacaPrompt({ instruction: 'do', context: '' })).length;

/** `count` rows of each category, in turn; the answer of row r of a category is r + 1 words long. */
function made(count: number, change: (row: Row, index: number) => Partial<Row> = () => ({})): Row[] {
  return Array.from({ length: count * CATEGORIES.length }, (_, i) => {
    const category = CATEGORIES[i % CATEGORIES.length]!;
    const response = 'word '.repeat(Math.floor(i / CATEGORIES.length)) + 'done';
    const row = { instruction: 'do', context: '', response, category };
    return { ...row, ...change(row, i) };
  });
}

const textOf = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

async function serve(content: string): Promise<void> {
  vi.stubEnv(
    'HF_ENDPOINT',
    (await hubOf({ [FILE]: content, 'datasets/databricks/databricks-dolly-15k/README.md': '' })).url,
  );
}

async function load(changes: Partial<RunConfig>, folder = causalModel(WORDS), log = keptLog()): Promise<Scenario> {
  const config = { ...makeConfig({ scenario: 'dolly', cacheDir: temporaryFolder() }), maxLen: 64, ...changes };
  return loadScenario(config, { folder, id: 'fixture', revision: 'local' }, { log });
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the dolly scenario', () => {
  it('makes a task of each category, in listed order, and holds out a twentieth of each', async () => {
    await serve(textOf(made(21)));
    const scenario = await load({});
    expect(scenario).toMatchObject({ name: 'dolly', metric: 'loss' });
    expect(scenario.tasks.map((task) => [task.name, task.trainRows, task.evalRows])).toEqual(
      CATEGORIES.map((name) => [name, 19, 2]),
    );
    expect(scenario.tasks[0]).toMatchObject({ numLabels: null, majorityFloor: null });
    expect(scenario.provenance).toEqual([
      {
        repo: 'datasets/databricks/databricks-dolly-15k',
        revision: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
        files: ['databricks-dolly-15k.jsonl'],
      },
    ]);
  });

  it('gives the rows of the split with its seed, prompts masked and answers labelled', async () => {
    await serve(textOf(made(21)));
    const [, task] = (await load({ tasks: ['open_qa', 'closed_qa'], seed: 7 })).tasks;
    const { train, heldOut } = splitHeldOut(21, 0.05, 7)!;
    expect(task!.name).toBe('closed_qa');
    const examples = asSequences(await task!.trainExamples(Int32Array.of(3, 0, 3)));
    const answers = [train[3]!, train[0]!, train[3]!].map((row) => [
      ...idsOf(WORDS, 'word '.repeat(row) + 'done'),
      EOS,
    ]);
    const prompt = [BOS, ...idsOf(WORDS, alpacaPrompt({ instruction: 'do', context: '' }))];
    expect([...examples.ids]).toEqual(answers.flatMap((answer) => [...prompt, ...answer]));
    expect([...examples.labels]).toEqual(
      answers.flatMap((answer) => [...new Array<number>(prompt.length).fill(-100), ...answer]),
    );
    expect(examples.offsets.length).toBe(4);
    expect(examples.typeIds).toBeUndefined();
    const first = asSequences(await task!.evalExamples(1));
    expect(first.ids).toHaveLength(prompt.length + heldOut[0]! + 2);
    expect((await task!.evalExamples(100)).labels.length).toBeGreaterThan(first.labels.length);
    await expect(task!.trainExamples(Int32Array.of(19))).rejects.toMatchObject({ code: 'SHAPE' });
  });

  it('gives the held-out prompts with the answers of the data, for generation', async () => {
    await serve(textOf(made(21)));
    const [task] = (await load({ tasks: ['general_qa'] })).tasks;
    const { heldOut } = splitHeldOut(21, 0.05, 42)!;
    const prompts = await task!.evalPrompts!(Int32Array.of(1, 0));
    const text = alpacaPrompt({ instruction: 'do', context: '' });
    expect(prompts.texts).toEqual([text, text]);
    expect(prompts.references).toEqual([heldOut[1]!, heldOut[0]!].map((row) => 'word '.repeat(row) + 'done'));
    expect([...prompts.ids]).toEqual([text, text].flatMap((prompt) => [BOS, ...idsOf(WORDS, prompt)]));
    expect([...prompts.offsets]).toEqual([0, PROMPT, 2 * PROMPT]);
    await expect(task!.evalPrompts!(Int32Array.of(2))).rejects.toMatchObject({ code: 'SHAPE' });
  });

  it('leaves out rows whose prompt fills max_len, after the split, and says how many', async () => {
    const { train, heldOut } = splitHeldOut(21, 0.05, 42)!;
    const long = new Set([train[0]!, train[5]!, heldOut[1]!]);
    // closed_qa is the third category in turn
    const isLong = (row: Row, i: number) => row.category === 'closed_qa' && long.has(Math.floor(i / CATEGORIES.length));
    await serve(textOf(made(21, (row, i) => (isLong(row, i) ? { instruction: 'do '.repeat(40) } : {}))));
    const log = keptLog();
    const { tasks } = await load({ tasks: ['closed_qa', 'open_qa'], maxLen: 55 }, undefined, log);
    expect(tasks.map((task) => [task.trainRows, task.evalRows])).toEqual([
      [17, 1],
      [19, 2],
    ]);
    const warnings = log.lines.filter((line) => line.startsWith('warn'));
    expect(warnings).toEqual([
      'warn: task closed_qa: 2 of 19 training rows and 1 of 2 held-out rows are left out: their prompts alone take ' +
        'max_len (55) tokens, which leaves none of the answer; raise max_len to use them',
    ]);
    const rows = Int32Array.from({ length: 17 }, (_, row) => row);
    const examples = asSequences(await tasks[0]!.trainExamples(rows));
    const lengths = [...rows].map((row) => examples.offsets[row + 1]! - examples.offsets[row]!);
    const kept = [...train].filter((row) => !long.has(row));
    expect(lengths).toEqual(kept.map((row) => Math.min(55, PROMPT + row + 2)));
    expect((await tasks[0]!.evalPrompts!(Int32Array.of(0))).references).toEqual(['word '.repeat(heldOut[0]!) + 'done']);
  });

  it('refuses a max_len that leaves a task nothing', async () => {
    await serve(textOf(made(3)));
    await expect(load({ tasks: ['open_qa'], maxLen: PROMPT })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /task open_qa: 2 of 2 training rows and 1 of 1 held-out rows cannot be used.*raise max_len/,
      ) as string,
    });
  });

  it('takes an empty answer, and U+2028 within a text', async () => {
    await serve(textOf(made(21, () => ({ response: '', context: 'a\u2028b' }))));
    const [task] = (await load({ tasks: ['open_qa'] })).tasks;
    const { labels } = await task!.evalExamples(2);
    expect([...labels].filter((label) => label !== -100)).toEqual([EOS, EOS]);
  });

  it.each([
    [
      'an unknown category',
      { category: 'poetry' },
      /:9: unknown category "poetry"; known are brainstorming, classification, closed_qa/,
    ],
    [
      'no category',
      { category: undefined },
      /:9: expected a text in "category", found only instruction, context, response/,
    ],
    ['an answer that is no text', { response: 3 }, /:9: expected a text in "response", found 3/],
  ])('refuses a row with %s, naming the line', async (_, change, message) => {
    await serve(textOf(made(3, (_row, i) => (i === 8 ? (change as Partial<Row>) : {}))));
    await expect(load({ tasks: ['open_qa'] })).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses a category that cannot be split, a file that is not there, and a task it does not have', async () => {
    await serve(textOf(made(1)));
    await expect(load({})).rejects.toThrow(/expected at least 2 rows of category brainstorming, found 1/);
    await expect(load({ tasks: ['sst2'] })).rejects.toThrow(/dolly has the tasks brainstorming, .*, found sst2/);
    vi.stubEnv('HF_ENDPOINT', (await hubOf({ 'datasets/databricks/databricks-dolly-15k/README.md': '' })).url);
    await expect(load({})).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(/at commit [0-9a-f]{40} has no databricks-dolly-15k\.jsonl/) as string,
    });
  });
});

describeWithShared('the dolly scenario on the whole file', () => {
  interface Golden {
    row: number;
    category: string;
    padding_side: string;
    max_len: number;
    labels: number[];
    input_ids: number[];
    attention_mask: number[];
  }
  /** one row of each category, none of them cut at 160 tokens */
  const golden = () =>
    (JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as { alpaca: Golden[] }).alpaca.filter(
      (row) => row.padding_side === 'right' && row.max_len === 160,
    );

  it('is loaded once with the network and then without, and gives every id and label of the reference', async () => {
    const server = await startHubServer({ roots: [sharedPath('hub')], cdn: true });
    onTestFinished(() => server.close());
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cacheDir = temporaryFolder();
    const folder = sharedPath('hub/models/fltac-test/tiny-llama');
    const log = keptLog();
    const scenario = await load({ cacheDir, maxLen: 512 }, folder, log);
    expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([]);
    expect(scenario.tasks.map((task) => [task.name, task.trainRows, task.evalRows])).toEqual(
      CATEGORIES.map((name) => [name, 57, 3]),
    );
    server.reset();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = await load({ cacheDir, maxLen: 512 }, folder);
    expect([offline.provenance, server.requests]).toEqual([scenario.provenance, []]);

    const lines = readFileSync(sharedPath(`hub/${FILE}`), 'utf8')
      .trimEnd()
      .split('\n');
    const categories = lines.map((line) => (JSON.parse(line) as Row).category);
    const { train, heldOut } = splitHeldOut(60, 0.05, 42)!;
    for (const { row, category, labels, input_ids, attention_mask } of golden()) {
      const task = offline.tasks.find(({ name }) => name === category)!;
      const numbers = categories.flatMap((name, i) => (name === category ? [i] : []));
      const place = train.indexOf(numbers.indexOf(row));
      const last = heldOut.indexOf(numbers.indexOf(row));
      const packed = asSequences(
        await (place < 0 ? task.evalExamples(last + 1) : task.trainExamples(Int32Array.of(place))),
      );
      const length = attention_mask.filter((bit) => bit === 1).length;
      const from = packed.offsets.at(-2)!;
      expect([...packed.ids.slice(from)], `row ${row}`).toEqual(input_ids.slice(0, length));
      expect([...packed.labels.slice(from)], `row ${row}`).toEqual(labels.slice(0, length));
    }
    expect(golden()).toHaveLength(8);
  });
});
