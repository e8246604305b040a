/** Whole runs of scenarios with the real engine. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadConfig } from '../../src/config/index.js';
import type { RunConfig } from '../../src/config/schema.js';
import { evaluateRun } from '../../src/run/evaluate.js';
import { silentLog } from '../../src/run/log.js';
import { trainRun } from '../../src/run/train.js';
import { temporaryFolder } from '../support/files.js';
import { startHubServer } from '../support/hub-server.js';
import { describeWithShared, sharedPath } from '../support/shared.js';
import { readJsonl } from './support.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A configuration file of this repository with other values. */
function configOf(name: string, changes: Partial<RunConfig>): RunConfig {
  const { config } = loadConfig({ file: join(root, 'configs', name), env: {} });
  return { ...config, outputDir: join(temporaryFolder(), 'run'), threads: 2, ...changes };
}

const context = () => ({ log: silentLog(), signal: new AbortController().signal });

/** Mean training loss of each round of a run. */
async function lossesOf(folder: string, rounds: number): Promise<number[]> {
  const records = await readJsonl(join(folder, 'metrics.jsonl'));
  return Array.from({ length: rounds }, (_, i) => {
    const own = records.filter(({ round, phase }) => phase === 'local' && round === i + 1);
    return own.reduce((sum, { loss }) => sum + Number(loss), 0) / own.length;
  });
}

beforeEach(() => {
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the example of custom tasks', () => {
  it('learns its tasks of different numbers of classes, and is evaluated again from its folder', async () => {
    const config = configOf('custom_text.yaml', { rounds: 2, evalEvery: 2 });
    const outcome = await trainRun(config, context());
    expect(outcome.clusteringAccuracy).toBe(1);
    for (const { metric, majorityFloor } of outcome.tasks) expect(metric).toBeGreaterThan(majorityFloor! + 0.3);
    const again = await evaluateRun({ folder: config.outputDir }, context());
    expect(again.tasks.map(({ task, metric }) => [task, metric])).toEqual(
      outcome.tasks.map(({ task, metric }) => [task, metric]),
    );
  });
});

describeWithShared('cifar on real pictures with a small ViT', () => {
  async function train(changes: Partial<RunConfig>): Promise<number[]> {
    const server = await startHubServer({ roots: [sharedPath('hub')] });
    onTestFinished(() => server.close());
    vi.stubEnv('HF_ENDPOINT', server.url);
    const config = configOf('cifar_vit.yaml', {
      ...{ modelName: 'fltac-test/tiny-vit', tasks: ['cifar10'], cacheDir: temporaryFolder() },
      ...{ nClients: 2, rounds: 3, localSteps: 8, batchSize: 16, maxEvalBatches: 1, lr: 5e-3 },
      ...changes,
    });
    await trainRun(config, context());
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = { ...config, outputDir: join(temporaryFolder(), 'offline') };
    await trainRun(offline, context());
    const losses = await lossesOf(config.outputDir, config.rounds);
    expect(await lossesOf(offline.outputDir, config.rounds)).toEqual(losses);
    return losses;
  }

  it.each([[false], [true]])('the loss falls, and is the same offline (train_head: %s)', async (trainHead) => {
    const losses = await train({ trainHead });
    expect(losses[0]! - losses[2]!).toBeGreaterThan(trainHead ? 0.5 : 0.05);
  });
});
