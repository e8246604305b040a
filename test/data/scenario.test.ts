import { readFileSync } from 'node:fs';
import { asSequences } from '../../src/engine/examples.js';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeConfig } from '../../src/config/load.js';
import type { RunConfig } from '../../src/config/schema.js';
import { knownTaskSizes, loadScenario, type Scenario } from '../../src/data/scenario.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { hubOf, keptLog } from '../support/hub.js';
import { startHubServer } from '../support/hub-server.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const MODEL = { folder: dataFixture('tokenizer'), id: 'fixture', revision: 'local' };
const GLUE = 'datasets/nyu-mll/glue';
const pairs = JSON.parse(readFileSync(dataFixture('pairs.json'), 'utf8')) as { label: number[] };
const rows = readFileSync(dataFixture('pairs.parquet'));

async function loadGlue(options: Partial<RunConfig>, model = MODEL, log = keptLog()): Promise<Scenario> {
  const config = { ...makeConfig({ scenario: 'glue' }), maxLen: 16, cacheDir: temporaryFolder(), ...options };
  return loadScenario(config, model, { log });
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the glue scenario', () => {
  const files = {
    [`${GLUE}/rte/train-00000-of-00002.parquet`]: rows,
    [`${GLUE}/rte/train-00001-of-00002.parquet`]: rows,
    [`${GLUE}/rte/validation-00000-of-00001.parquet`]: rows,
    [`${GLUE}/rte/test-00000-of-00001.parquet`]: rows,
    [`${GLUE}/mrpc/train-00000-of-00001.parquet`]: rows,
    [`${GLUE}/mrpc/validation-00000-of-00001.parquet`]: rows,
  };

  it('downloads the chosen tasks with one bar, all their shards and no other split', async () => {
    const server = await hubOf(files);
    vi.stubEnv('HF_ENDPOINT', server.url);
    const log = keptLog();
    const scenario = await loadGlue({ tasks: ['rte', 'mrpc'] }, MODEL, log);
    expect(scenario).toMatchObject({ name: 'glue', metric: 'accuracy' });
    expect(scenario.tasks.map((task) => [task.name, task.numLabels, task.trainRows, task.evalRows])).toEqual([
      ['rte', 2, 2 * pairs.label.length, pairs.label.length],
      ['mrpc', 2, pairs.label.length, pairs.label.length],
    ]);
    const names = Object.keys(files).map((name) => name.slice(GLUE.length + 1));
    const used = names.filter((name) => !name.includes('/test-'));
    expect(scenario.provenance).toEqual([
      { repo: 'datasets/nyu-mll/glue', revision: expect.stringMatching(/^[0-9a-f]{40}$/) as string, files: used },
    ]);
    expect(log.lines.filter((line) => line.startsWith('start'))).toHaveLength(1);
  });

  it('gives packed training rows in the order asked for, and the first evaluation rows', async () => {
    const server = await hubOf(files);
    vi.stubEnv('HF_ENDPOINT', server.url);
    const [task] = (await loadGlue({ tasks: ['mrpc'] })).tasks;
    const ones = pairs.label.filter((label) => label === 1).length;
    expect(task?.majorityFloor).toBe(Math.max(ones, pairs.label.length - ones) / pairs.label.length);
    const train = asSequences(await task!.trainExamples(Int32Array.of(7, 2, 7)));
    expect([...train.labels]).toEqual([pairs.label[7], pairs.label[2], pairs.label[7]]);
    expect(train.typeIds).toHaveLength(train.ids.length);
    const first = await task!.evalExamples(3);
    expect([...first.labels]).toEqual(pairs.label.slice(0, 3));
    expect((await task!.evalExamples(1_000_000)).labels).toHaveLength(pairs.label.length);
  });

  it('works offline once downloaded', async () => {
    const server = await hubOf(files);
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cacheDir = temporaryFolder();
    const online = await loadGlue({ tasks: ['rte'], cacheDir });
    server.reset();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = await loadGlue({ tasks: ['rte'], cacheDir });
    expect(offline.provenance).toEqual(online.provenance);
    expect(server.requests).toEqual([]);
    await expect(loadGlue({ tasks: ['mrpc'], cacheDir })).rejects.toThrow(
      /expected 1 file\(s\) mrpc\/train-\*\.parquet, found 0/,
    );
  });

  it('refuses a set of shards that is not whole', async () => {
    const fewer = Object.fromEntries(Object.entries(files).filter(([name]) => !name.includes('train-00001')));
    vi.stubEnv('HF_ENDPOINT', (await hubOf(fewer)).url);
    await expect(loadGlue({ tasks: ['rte'] })).rejects.toThrow(/expected 2 file\(s\) rte\/train-\*\.parquet, found 1/);
  });

  it('names the task that the data set does not have', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf(files)).url);
    await expect(loadGlue({ tasks: ['qqp'] })).rejects.toThrow(
      'dataset nyu-mll/glue has no qqp at revision main (404)',
    );
    await expect(loadGlue({ tasks: ['cola'] })).rejects.toThrow(
      'glue has the tasks sst2, mrpc, qqp, qnli, rte, found cola',
    );
  });

  it('refuses unlabelled rows, naming file and row', async () => {
    const unlabelled = readFileSync(dataFixture('labels-unknown.parquet'));
    vi.stubEnv(
      'HF_ENDPOINT',
      (await hubOf({ ...files, [`${GLUE}/rte/validation-00000-of-00001.parquet`]: unlabelled })).url,
    );
    await expect(loadGlue({ tasks: ['rte'] })).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(/rte\/validation-00000-of-00001.parquet: row 1 has label -1/) as string,
    });
  });
});

describeWithShared('the glue scenario on real data', () => {
  it('loads four tasks through a Hub server with redirects, and tokenises them for tiny-bert', async () => {
    const server = await startHubServer({ roots: [sharedPath('hub')], cdn: true });
    onTestFinished(() => server.close());
    vi.stubEnv('HF_ENDPOINT', server.url);
    const model = { folder: sharedPath('hub/models/fltac-test/tiny-bert'), id: 'tiny', revision: 'local' };
    const scenario = await loadGlue({ tasks: ['sst2', 'mrpc', 'rte', 'qnli'], maxLen: 128 }, model);
    expect(scenario.tasks.map((task) => [task.name, task.trainRows, task.evalRows])).toEqual([
      ['sst2', 67349, 872],
      ['mrpc', 3668, 408],
      ['rte', 2490, 277],
      ['qnli', 4463, 1000],
    ]);
    const golden = JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as {
      pairs: { task: string; row: number; tiny_bert: { max128: { input_ids: number[] } } }[];
    };
    for (const task of scenario.tasks) {
      const known = golden.pairs.filter((pair) => pair.task === task.name);
      const packed = asSequences(await task.trainExamples(Int32Array.from(known, (pair) => pair.row)));
      for (const [index, pair] of known.entries()) {
        const ids = [...packed.ids.slice(packed.offsets[index], packed.offsets[index + 1])];
        expect(ids, `${pair.task} row ${pair.row}`).toEqual(pair.tiny_bert.max128.input_ids);
      }
    }
  });
});

describe('knownTaskSizes', () => {
  it('knows glue as published, cifar and dolly, in listed order', () => {
    expect(knownTaskSizes('glue')?.map(({ name, rows: count }) => [name, count])).toEqual([
      ['sst2', 67349],
      ['mrpc', 3668],
      ['qqp', 363846],
      ['qnli', 104743],
      ['rte', 2490],
    ]);
    expect(knownTaskSizes('cifar')?.map((size) => size.rows)).toEqual([50000, 50000]);
    const dolly = knownTaskSizes('dolly') ?? [];
    expect([dolly.length, dolly.reduce((sum, size) => sum + size.rows, 0)]).toEqual([8, 14982]);
  });

  it('gives chosen tasks in the order chosen', () => {
    expect(knownTaskSizes('glue', ['rte', 'sst2'])?.map((size) => size.name)).toEqual(['rte', 'sst2']);
  });

  it('is undefined where a scenario or task is not known', () => {
    expect(knownTaskSizes('custom')).toBeUndefined();
    expect(knownTaskSizes('toString')).toBeUndefined();
    expect(knownTaskSizes('glue', ['sst2', 'cola'])).toBeUndefined();
  });
});
