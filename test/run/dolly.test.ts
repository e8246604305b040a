import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, expect, it, onTestFinished, vi } from 'vitest';
import { makeConfig, type RunConfig } from '../../src/config/index.js';
import { generateAnswers, type Answer } from '../../src/generate/generate.js';
import { silentLog } from '../../src/run/log.js';
import { trainRun } from '../../src/run/train.js';
import { startHubServer } from '../support/hub-server.js';
import { temporaryFolder } from '../support/files.js';
import { describeWithShared, sharedPath } from '../support/shared.js';
import { readJsonl } from './support.js';

interface TaskReference {
  rows: number;
  tokens: number;
  metric: number;
  token_loss: number;
  answer: string;
  finished: boolean;
}

/** Ten times the largest difference seen (1e-6): eager attention of transformers against the engine's own order of sums. */
const TOLERANCE = 1e-5;

const { header, models } = JSON.parse(
  readFileSync(new URL('../fixtures/dolly_reference.json', import.meta.url), 'utf8'),
) as { header: { batch: number; max_new_tokens: number }; models: Record<string, Record<string, TaskReference>> };

const context = () => ({ log: silentLog(), signal: new AbortController().signal });

afterEach(() => {
  vi.unstubAllEnvs();
});

describeWithShared('dolly on tiny LLaMA models', () => {
  async function config(model: string, changes: Partial<RunConfig>): Promise<RunConfig> {
    const server = await startHubServer({ roots: [sharedPath('hub')] });
    onTestFinished(() => server.close());
    for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, '');
    vi.stubEnv('HF_ENDPOINT', server.url);
    const folder = temporaryFolder();
    return makeConfig({
      ...{ scenario: 'dolly', modelName: `fltac-test/${model}`, cacheDir: path.join(folder, 'cache') },
      // transformers' values are float32 whatever the files hold
      ...{ outputDir: path.join(folder, 'run'), threads: 2, dtype: 'float32', evalBatchSize: header.batch, ...changes },
    });
  }

  it.each(Object.keys(models))(
    '%s untuned has the losses and greedy answers that transformers gives',
    async (model) => {
      const settings = await config(model, { method: 'none' });
      const outcome = await trainRun(settings, context());
      const evals = await readJsonl(path.join(settings.outputDir, 'metrics.jsonl'));
      const expected = models[model]!;
      expect(outcome.tasks.map(({ task }) => task)).toEqual(Object.keys(expected));
      for (const row of evals) {
        const { rows, tokens, metric, token_loss } = expected[row['task'] as string]!;
        expect(row).toMatchObject({ rows, tokens });
        expect(Math.abs((row['metric'] as number) - metric), `${String(row['task'])} metric`).toBeLessThan(TOLERANCE);
        expect(Math.abs((row['token_loss'] as number) - token_loss)).toBeLessThan(TOLERANCE);
        // The batches are of different lengths, so that the two means differ.
        expect(Math.abs(metric - token_loss)).toBeGreaterThan(10 * TOLERANCE);
      }
      expect(evals).toHaveLength(8);

      vi.stubEnv('HF_HUB_OFFLINE', '1');
      const sampling = { maxNewTokens: header.max_new_tokens, temperature: 0, topP: 1, seed: 0, batchSize: 3 };
      const generated = await generateAnswers({ source: settings.outputDir, limit: 1, ...sampling }, context());
      const answers = (await readJsonl(generated.path)) as unknown as Answer[];
      expect(Object.fromEntries(answers.map(({ task, answer, finished }) => [task, { answer, finished }]))).toEqual(
        Object.fromEntries(
          Object.entries(expected).map(([task, { answer, finished }]) => [task, { answer, finished }]),
        ),
      );
    },
  );

  it('learns, without the network once everything is in the cache, and draws answers whatever the batches', async () => {
    const tasks = ['closed_qa', 'open_qa', 'summarization'];
    const settings = await config('tiny-llama', { tasks, nClients: 4, rounds: 2, localSteps: 15, lr: 3e-3 });
    await trainRun({ ...settings, method: 'none', outputDir: `${settings.outputDir}-first` }, context());
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const outcome = await trainRun(settings, context());
    for (const { metric, untuned } of outcome.tasks) expect(metric!).toBeLessThan(untuned! - 1);
    expect(outcome.clusteringAccuracy).toBe(1);
    const draw = { source: settings.outputDir, maxNewTokens: 8, temperature: 1, topP: 0.9 };
    const texts = await Promise.all(
      [
        { seed: 1, batchSize: 1 },
        { seed: 1, batchSize: 16 },
        { seed: 2, batchSize: 16 },
      ].map(async (how, i) => {
        const output = path.join(settings.outputDir, `drawn-${i}.jsonl`);
        await generateAnswers({ ...draw, ...how, output }, context());
        return readFileSync(output, 'utf8');
      }),
    );
    expect(texts[1]).toBe(texts[0]);
    expect(texts[2]).not.toBe(texts[0]);
  });
});
