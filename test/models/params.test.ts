import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeConfig } from '../../src/config/index.js';
import type { RunConfig } from '../../src/config/index.js';
import { countParameters } from '../../src/models/params.js';
import { presetShape } from '../../src/models/presets.js';
import { silentLog } from '../../src/run/log.js';

const count = (values: Partial<RunConfig>) =>
  countParameters(makeConfig({ scenario: 'glue', ...values }, {}), {
    log: silentLog(),
    signal: new AbortController().signal,
  });

/** Rank-r A [r, 768] and B [768, r] on two modules of 12 layers. */
const lora = (rank: number) => 12 * 2 * rank * (768 + 768);
const HEAD = 2 * 768 + 2;

describe('counts of BERT-base', () => {
  it('are the published ones', async () => {
    const { published } = await count({});
    expect(published.map(({ method, values }) => [method, values])).toEqual([
      ['FL-TAC', 192_010],
      ['FedIT', 614_432],
      ['full fine-tuning', 108_311_810],
    ]);
  });

  it('are those of the adapters that are trained', async () => {
    const { adapter, methods, backbone } = await count({ loraRank: 4 });
    expect(adapter).toMatchObject({ lora: lora(4), head: HEAD, values: lora(4) + HEAD });
    expect(backbone).toBe(109_482_240);
    expect(methods.map(({ method, trainable }) => [method, trainable])).toEqual([
      ['fltac or oracle, rank 4', 5 * (lora(4) + HEAD)],
      ['local, rank 4', 5 * (lora(4) + HEAD)],
      ['fedit, rank 4', lora(4) + HEAD],
      ["fedit, rank 20 (at most fltac's total)", lora(20) + HEAD],
      ['full fine-tuning', 109_482_240 + HEAD],
    ]);
    expect(lora(20) + HEAD).toBeLessThanOrEqual(5 * (lora(4) + HEAD));
    expect(lora(21) + HEAD).toBeGreaterThan(5 * (lora(4) + HEAD));
  });

  it('make bytes: four a value, for the adapters that a client holds', async () => {
    const { adapter, methods } = await count({});
    const [fltac, local, fedit, , full] = methods;
    expect(fltac!.uploadMost).toBe(5 * adapter.values * 4);
    // the published partition has 40 non-empty (client, task) pairs over 10 clients
    expect(fltac!.uploadMean).toBe((40 / 10) * adapter.values * 4);
    expect(local!.uploadMost).toBe(0);
    expect(fedit!.uploadMost).toBe(adapter.values * 4);
    expect(full!.uploadMost).toBeNull();
  });

  it('follow tasks, target modules and train_head', async () => {
    const { adapter, methods } = await count({
      ...{ tasks: ['sst2', 'rte'], targetModules: ['query', 'key', 'value'], trainHead: false, loraRank: 2 },
    });
    expect(adapter).toMatchObject({ lora: 1.5 * lora(2), head: 0 });
    expect(methods[0]!.trainable).toBe(2 * 1.5 * lora(2));
  });
});

describe('other models', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'fltac-params-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are counted from a local config.json, without weights', async () => {
    const shape = { ...presetShape('bert-base-uncased'), hidden_size: 48, num_hidden_layers: 3, intermediate_size: 96 };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(shape));
    const { adapter, model } = await count({ modelName: folder, loraRank: 4 });
    expect(model).toBe(folder);
    expect(adapter).toMatchObject({ lora: 3 * 2 * 4 * 96, head: 2 * 48 + 2 });
  });

  it('of a family that is not known are refused, naming the file', async () => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ model_type: 'mamba' }));
    await expect(count({ modelName: folder })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(join(folder, 'config.json')) as string,
    });
  });
});
