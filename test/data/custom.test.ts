import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CustomData } from '../../src/config/custom-tasks.js';
import { makeConfig } from '../../src/config/load.js';
import type { RunConfig } from '../../src/config/schema.js';
import { customTaskSizes } from '../../src/data/custom.js';
import { loadScenario, type Scenario } from '../../src/data/scenario.js';
import { asImages, asSequences } from '../../src/engine/examples.js';
import { Generator } from '../../src/numpy/index.js';
import { causalModel } from '../support/causal-model.js';
import { dataFixture, imageFixture, temporaryFolder } from '../support/files.js';
import { folderOf, hubOf, keptLog } from '../support/hub.js';

const TEXT_MODEL = dataFixture('tokenizer');

async function load(
  data: CustomData,
  {
    folder = TEXT_MODEL,
    log = keptLog(),
    ...options
  }: Partial<RunConfig> & { folder?: string; log?: ReturnType<typeof keptLog> } = {},
): Promise<Scenario> {
  const config = makeConfig({ scenario: 'custom', data, maxLen: 32, cacheDir: temporaryFolder(), ...options }, {});
  return loadScenario(config, { folder, id: 'model', revision: 'local' }, { log });
}

/** A CSV of texts and labels. */
function csvOf(...rows: readonly (readonly [text: string, label: string | number])[]): string {
  return `text,label\n${rows.map(([text, label]) => `${text},${label}\n`).join('')}`;
}

const FILES = {
  'train.csv': csvOf(['red boat', 'good'], ['blue house', 'bad'], ['old river', 'good']),
  'test.csv': csvOf(['small stone', 'bad'], ['the boat', 'good']),
};

function moodOf(files: Readonly<Record<string, string>> = FILES): CustomData {
  const folder = folderOf(files);
  return {
    mood: { train: join(folder, 'train.csv'), validation: join(folder, 'test.csv'), text: 'text', label: 'label' },
  };
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

it('files of this machine are told with the SHA-256 of what they hold', async () => {
  const [own] = (await load(moodOf())).provenance;
  const sha256 = Object.values(FILES).map((text) => createHash('sha256').update(text).digest('hex'));
  expect(own).toMatchObject({ repo: 'custom/mood', revision: 'local', sha256 });
});

describe('custom tasks of texts', () => {
  it('have their own classes, told in the log, and so many outputs as the task with most needs', async () => {
    const log = keptLog();
    const folder = folderOf({ 'five.jsonl': '{"a": "red", "b": "boat", "n": 4}\n{"a": "x", "b": "y", "n": 0}\n' });
    const five = join(folder, 'five.jsonl');
    const data = { ...moodOf(), five: { train: five, validation: five, text: ['a', 'b'], label: 'n' } };
    const scenario = await load(data, { log });
    expect(scenario).toMatchObject({ name: 'custom', metric: 'accuracy' });
    expect(scenario.tasks).toMatchObject([
      { name: 'mood', numLabels: 2, trainRows: 3, evalRows: 2, majorityFloor: 0.5 },
      { name: 'five', numLabels: 5, trainRows: 2, evalRows: 2 },
    ]);
    expect(log.lines).toEqual([
      'info: task mood: 3 training and 2 validation rows, 2 classes (0 bad, 1 good)',
      'info: task five: 2 training and 2 validation rows, 5 classes',
    ]);
    const [mood, pairs] = scenario.tasks;
    expect([...(await mood!.trainExamples(Int32Array.of(1, 0))).labels]).toEqual([0, 1]);
    expect([...(await mood!.evalExamples(9)).labels]).toEqual([0, 1]);
    expect([...asSequences(await pairs!.evalExamples(1)).typeIds!]).toContain(1);
  });

  it('may hold out a share of their rows, drawn from the seed as datasets draws it', async () => {
    const folder = folderOf({
      'all.csv': csvOf(...Array.from({ length: 10 }, (_, i) => [`text ${i}`, i % 5] as const)),
    });
    const data = { all: { train: join(folder, 'all.csv'), validation: 0.25, text: 'text', label: 'label' } };
    const [task] = (await load(data, { seed: 7 })).tasks;
    const order = new Generator(7).permutation(10);
    expect([...(await task!.evalExamples(10)).labels]).toEqual([...order.slice(0, 3)].map((row) => row % 5));
    const train = await task!.trainExamples(Int32Array.from({ length: 7 }, (_, i) => i));
    expect([...train.labels]).toEqual([...order.slice(3)].map((row) => row % 5));
    const file = { train: join(folder, 'all.csv'), validation: 0.95, text: 'text', label: 'label' };
    await expect(load({ all: file })).rejects.toThrow(/holding out 0.95 of 10 rows leaves a part empty/);
  });

  it('tell all their faults together, with file and row', async () => {
    const folder = folderOf({
      ...FILES,
      'odd.csv': csvOf(['a', 'good'], ['b', 'odd']),
      'empty.csv': 'text,label\n',
      'other.csv': 'body,label\nx,good\n',
    });
    const task = { text: 'text', label: 'label' };
    const at = (name: string) => join(folder, name);
    const data = {
      one: { ...task, train: at('train.csv'), validation: at('odd.csv') },
      two: { ...task, train: at('empty.csv'), validation: at('other.csv') },
      three: { ...task, train: at('gone.csv'), validation: 0.5 },
      four: { ...task, train: 'train', validation: 'test' },
    };
    await expect(load(data)).rejects.toMatchObject({
      code: 'FORMAT',
      message: [
        '5 problems:',
        `  ${at('odd.csv')}: row 1 has label "odd"; task one has the classes bad, good (or 0 to 1)`,
        `  task two: expected training rows in ${at('empty.csv')}, found none`,
        `  ${at('other.csv')}: no column "text"; the file has "body", "label"`,
        `  task three: there is no file ${at('gone.csv')}`,
        '  task four: expected files that end in .parquet, .jsonl, .ndjson, .json, .csv, .tsv, found train; for a split of a ' +
          'data set on the Hub give hub: org/name, too',
      ].join('\n'),
    });
  });

  it('tell once what is wrong for all tasks of the Hub', async () => {
    vi.stubEnv('HF_ENDPOINT', 'foo');
    const task = { hub: 'made-up/set', train: 'train', validation: 'test', text: 'text', label: 'label' };
    await expect(load({ one: task, two: task })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/^HF_ENDPOINT must be an http\(s\) address/) as string,
    });
  });

  it('tell a data set that the Hub lacks with the faults of the other tasks', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf({})).url);
    const task = { validation: 0.5, text: 'text', label: 'label' };
    const other = join(folderOf({ 'other.csv': 'body,label\nx,good\n' }), 'other.csv');
    const data = { one: { ...task, hub: 'no/such', train: 'train' }, two: { ...task, train: other } };
    await expect(load(data)).rejects.toThrow(
      new RegExp(`^2 problems:\n.* has no public dataset no/such .*\n  ${other}: no column "text"`),
    );
  });

  it('do not ask again a Hub that cannot be reached', async () => {
    const server = await hubOf({});
    await server.close();
    vi.stubEnv('HF_ENDPOINT', server.url);
    const task = { train: 'train', validation: 0.5, text: 'text', label: 'label' };
    const log = keptLog();
    const data = { one: { ...task, hub: 'made-up/set' }, two: { ...task, hub: 'made-up/other' } };
    await expect(load(data, { log })).rejects.toThrow(/^\S+ cannot be reached for dataset made-up\/set/);
    expect(log.lines.join('\n')).not.toContain('made-up/other');
  }, 30_000);

  it('are looked for from the folder that fltac is started in, which a missing file is told with', async () => {
    const data: CustomData = { mood: { ...moodOf()['mood']!, train: 'sets/gone.csv' } };
    await expect(load(data)).rejects.toMatchObject({
      code: 'IO',
      message:
        `task mood: there is no file ${join(process.cwd(), 'sets/gone.csv')}; paths in data are taken from the folder that ` +
        `fltac is started in, here ${process.cwd()}`,
    });
  });

  it('are counted for the partition', async () => {
    const config = makeConfig({ scenario: 'custom', data: moodOf() }, {});
    expect(await customTaskSizes(config, { log: keptLog() })).toEqual([{ name: 'mood', rows: 3 }]);
  });
});

describe('custom tasks of a data set on the Hub', () => {
  const parquet = readFileSync(dataFixture('pairs.parquet'));
  const task = { hub: 'made-up/set', text: ['sentence1', 'sentence2'], label: 'label' };

  it.each([
    [
      'shards in a subset',
      ['en/train-00000-of-00002.parquet', 'en/train-00001-of-00002.parquet', 'en/test-00000-of-00001.parquet'],
      2,
    ],
    [
      'shards in data/ with hashes',
      ['en/data/train-00000-of-00001-0a1b.parquet', 'en/data/test-00000-of-00001-ff.parquet'],
      1,
    ],
    ['files named by split', ['en/train.parquet', 'en/test.parquet', 'en/train.csv'], 1],
    ['converted files', ['en/train/0000.parquet', 'en/train/0001.parquet', 'en/test/0000.parquet'], 2],
  ])('find %s, and no others', async (_, names, shards) => {
    const others = ['en/train2.parquet', 'de/train.parquet', 'en/pretrain.parquet'];
    const files = [...names, ...others].map((name) => [`datasets/made-up/set/${name}`, parquet] as const);
    vi.stubEnv('HF_ENDPOINT', (await hubOf(Object.fromEntries(files))).url);
    const scenario = await load({ set: { ...task, subset: 'en', train: 'train', validation: 'test' } });
    const rows = 23;
    expect(scenario.tasks).toMatchObject([{ trainRows: shards * rows, evalRows: rows }]);
    expect(scenario.provenance[0]!.files).toEqual(names.filter((name) => name.endsWith('.parquet')));
  });

  it('may name files, and work offline once downloaded', async () => {
    const files = {
      'datasets/made-up/set/a/rows.csv': FILES['train.csv'],
      'datasets/made-up/set/b.csv': FILES['test.csv'],
    };
    const server = await hubOf(files);
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cacheDir = temporaryFolder();
    const data = {
      set: { hub: 'made-up/set', train: ['a/rows.csv', 'b.csv'], validation: 0.3, text: 'text', label: 'label' },
    };
    const online = await load(data, { cacheDir });
    expect(online.tasks).toMatchObject([{ trainRows: 3, evalRows: 2 }]);
    server.reset();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await load(data, { cacheDir })).provenance).toEqual(online.provenance);
    expect(server.requests).toEqual([]);
  });

  it('say what the data set has where a split or a shard is missing', async () => {
    const files = { 'datasets/made-up/set/train-00000-of-00002.parquet': parquet };
    vi.stubEnv('HF_ENDPOINT', (await hubOf(files)).url);
    await expect(load({ set: { ...task, train: 'dev', validation: 0.5 } })).rejects.toThrow(
      /task set: dataset made-up\/set at commit \w+ has no split or file "dev": no file is called so \(it has: train-00000/,
    );
    await expect(load({ set: { ...task, train: 'train', validation: 0.5 } })).rejects.toThrow(/1 of 2 files are there/);
  });

  it('take images from Parquet only, so that no foreign file names a path of this machine', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf({ 'datasets/made-up/set/train.csv': 'img,label\n/etc/hosts,0\n' })).url);
    const data = { set: { hub: 'made-up/set', train: 'train', validation: 0.5, image: 'img', label: 'label' } };
    const folder = folderOf({ 'config.json': '{"image_size": 16}', 'preprocessor_config.json': '{"size": 16}' });
    await expect(load(data, { folder })).rejects.toThrow(
      /images from the Hub must lie in Parquet files, found train.csv/,
    );
  });
});

describe('custom tasks of images', () => {
  const model = () => folderOf({ 'config.json': '{"image_size": 16}', 'preprocessor_config.json': '{"size": 16}' });

  it('read them from Parquet, or from the files that a table names', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'list.csv'), 'file,kind\npic.png,cat\npic.png,dog\n');
    writeFileSync(join(folder, 'pic.png'), readFileSync(imageFixture('rgb.png')));
    const parquet = imageFixture('pictures.parquet');
    const list = join(folder, 'list.csv');
    const scenario = await load(
      {
        colours: { train: parquet, validation: parquet, image: 'img', label: 'label' },
        animals: { train: list, validation: list, image: 'file', label: 'kind' },
      },
      { folder: model() },
    );
    expect(scenario.tasks).toMatchObject([{ numLabels: 10 }, { numLabels: 2 }]);
    const animals = asImages(await scenario.tasks[1]!.evalExamples(2));
    expect([...animals.labels]).toEqual([0, 1]);
    // 24 x 20 pixels, more than the model's 16 x 16, to which they are brought at once
    expect([...animals.sizes]).toEqual([16, 16, 16, 16]);
  });
});

describe('custom tasks of instructions', () => {
  it('take prompt, context and response, and measure the loss', async () => {
    const folder = folderOf({
      'qa.jsonl': ['one', 'two', 'three', 'four']
        .map((word) => `${JSON.stringify({ q: `say ${word}`, c: word === 'two' ? 'some context' : null, a: word })}\n`)
        .join(''),
    });
    const data = {
      qa: { train: join(folder, 'qa.jsonl'), validation: 0.25, prompt: 'q', context: 'c', response: 'a' },
    };
    const scenario = await load(data, { folder: causalModel(['one', 'two', 'three', 'four']), maxLen: 64 });
    expect(scenario).toMatchObject({ metric: 'loss' });
    const [task] = scenario.tasks;
    expect(task).toMatchObject({ numLabels: null, trainRows: 3, evalRows: 1, majorityFloor: null });
    const { texts, references } = await task!.evalPrompts!(Int32Array.of(0));
    expect(texts[0]).toContain(`### Instruction:\nsay ${references[0]!}\n`);
    const rest = await task!.trainExamples(Int32Array.of(0, 1, 2));
    // the answer and the end token of each row
    expect([...rest.labels].filter((label) => label !== -100)).toHaveLength(6);
  });
});
