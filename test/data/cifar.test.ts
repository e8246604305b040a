import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeConfig } from '../../src/config/load.js';
import type { RunConfig } from '../../src/config/schema.js';
import { loadScenario, type Scenario } from '../../src/data/scenario.js';
import { asImages } from '../../src/engine/examples.js';
import { preprocessImages } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { imageFixture, temporaryFolder } from '../support/files.js';
import { folderOf, hubOf, keptLog } from '../support/hub.js';
import { startHubServer } from '../support/hub-server.js';
import { bytes, readReference, values } from '../support/safetensors.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const CIFAR10 = 'datasets/uoft-cs/cifar10/plain_text';
const rows = readFileSync(imageFixture('pictures.parquet'));
const FILES = {
  [`${CIFAR10}/train-00000-of-00002.parquet`]: rows,
  [`${CIFAR10}/train-00001-of-00002.parquet`]: rows,
  [`${CIFAR10}/test-00000-of-00001.parquet`]: rows,
};

function modelFolder(): string {
  return folderOf({ 'config.json': '{"image_size": 16}', 'preprocessor_config.json': '{"size": 16}' });
}

async function loadCifar(options: Partial<RunConfig>, folder = modelFolder()): Promise<Scenario> {
  const config = makeConfig({ scenario: 'cifar', cacheDir: temporaryFolder(), ...options });
  return loadScenario(config, { folder, id: 'vit', revision: 'local' }, { log: keptLog() });
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the cifar scenario', () => {
  it('trains on train, evaluates on test, and has one head of 100 classes', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf(FILES)).url);
    const scenario = await loadCifar({ tasks: ['cifar10'] });
    expect(scenario).toMatchObject({ name: 'cifar', metric: 'accuracy' });
    expect(scenario.tasks).toMatchObject([{ name: 'cifar10', numLabels: 100, trainRows: 24, evalRows: 12 }]);
    expect(scenario.provenance).toMatchObject([{ repo: 'datasets/uoft-cs/cifar10' }]);
    const images = asImages(await scenario.tasks[0]!.trainExamples(Int32Array.of(13, 3)));
    expect([...images.labels]).toEqual([1, 3]);
    expect(images.preprocess).toMatchObject({ height: 16, width: 16 });
  });

  it('works offline once downloaded', async () => {
    const server = await hubOf(FILES);
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cacheDir = temporaryFolder();
    const online = await loadCifar({ tasks: ['cifar10'], cacheDir });
    server.reset();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = await loadCifar({ tasks: ['cifar10'], cacheDir });
    expect(offline.provenance).toEqual(online.provenance);
    expect(server.requests).toEqual([]);
  });

  it('says what the Hub lacks, and which labels are no classes', async () => {
    vi.stubEnv('HF_ENDPOINT', (await hubOf(FILES)).url);
    await expect(loadCifar({})).rejects.toThrow(/dataset uoft-cs\/cifar100/);
    const cifar100 = FILES[`${CIFAR10}/test-00000-of-00001.parquet`];
    const folder = 'datasets/uoft-cs/cifar100/cifar100';
    const other = {
      [`${folder}/train-00000-of-00001.parquet`]: cifar100,
      [`${folder}/test-00000-of-00001.parquet`]: cifar100,
    };
    vi.stubEnv('HF_ENDPOINT', (await hubOf(other)).url);
    await expect(loadCifar({ tasks: ['cifar100'] })).rejects.toThrow(
      /train-00000-of-00001.parquet: no column "fine_label"; the file has "img", "label"/,
    );
  });

  it('takes the defaults of the published settings', () => {
    expect(makeConfig({ scenario: 'cifar' })).toMatchObject({
      modelName: 'google/vit-base-patch16-224-in21k',
      tasks: ['cifar10', 'cifar100'],
      loraRank: 4,
      lr: 1e-3,
      batchSize: 64,
      localSteps: 50,
      rounds: 20,
      evalEvery: 2,
      maxEvalBatches: 30,
      evalBatchSize: 64,
      targetModules: ['query', 'value'],
      trainHead: false,
    });
  });
});

describeWithShared('the cifar scenario on real pictures', () => {
  it('gives the pixel values of the reference', async () => {
    const server = await startHubServer({ roots: [sharedPath('hub')] });
    onTestFinished(() => server.close());
    vi.stubEnv('HF_ENDPOINT', server.url);
    const scenario = await loadCifar({ tasks: ['cifar10'] }, sharedPath('hub/models/fltac-test/tiny-vit'));
    const [task] = scenario.tasks;
    expect(task).toMatchObject({ trainRows: 3000, evalRows: 600, majorityFloor: 0.1 });
    const reference = readReference(sharedPath('golden/vit_preprocess.safetensors'));
    const images = asImages(await task!.evalExamples(8));
    expect([...images.labels]).toEqual([...values(reference, 'labels')]);
    const table = Float32Array.from(values(reference, 'lut'));
    const expected = Float32Array.from(bytes(reference, 'pixel_u8').data, (byte) => table[byte]!);
    expect(difference(await preprocessImages(images), expected).max).toBe(0);
  });
});
