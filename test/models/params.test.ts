import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
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
    expect(published!.counts.map(({ method, values }) => [method, values])).toEqual([
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
      ['centralized, rank 4', 5 * (lora(4) + HEAD)],
      ['full', 5 * (109_482_240 + HEAD)],
    ]);
    expect(lora(20) + HEAD).toBeLessThanOrEqual(5 * (lora(4) + HEAD));
    expect(lora(21) + HEAD).toBeGreaterThan(5 * (lora(4) + HEAD));
  });

  it('make bytes: four a value, for the adapters that a client holds', async () => {
    const { adapter, methods } = await count({});
    const [fltac, local, fedit, , centralized, full] = methods;
    expect(fltac!.uploadMost).toBe(5 * adapter.values * 4);
    // the published partition has 40 non-empty (client, task) pairs over 10 clients
    expect(fltac!.uploadMean).toBe((40 / 10) * adapter.values * 4);
    expect(local!.uploadMost).toBe(0);
    expect(fedit!.uploadMost).toBe(adapter.values * 4);
    expect(centralized!.uploadMost).toBeNull();
    expect(full!.uploadMost).toBeNull();
  });

  it('make fewer bytes in other formats, and where the server shares less', async () => {
    const tensors = 12 * 2 * 2 + 2;
    const { adapter, uploads } = await count({});
    expect(uploads).toMatchObject([
      { format: 'float32', adapter: 4 * adapter.values },
      { format: 'bfloat16', adapter: 2 * adapter.values },
      { format: 'int8', adapter: adapter.values + 4 * tensors },
    ]);
    for (const { adapter: one, most, mean } of uploads) expect([most, mean]).toEqual([5 * one, 4 * one]);
    const configured = await count({ uploadFormat: 'int8', aggregation: 'ffa' });
    // B and head: half of the LoRA values, in half of its tensors
    const sent = adapter.lora / 2 + HEAD + 4 * (12 * 2 + 2);
    expect(configured.methods.map(({ uploadMost }) => uploadMost).slice(0, 3)).toEqual([5 * sent, 0, sent]);
    expect(configured.uploads.map(({ adapter: one }) => one).at(2)).toBe(sent);
  });

  it('compare with a shared rank of at most the hidden size, above which there is no adapter', async () => {
    const { methods } = await count({ loraRank: 200 });
    expect(methods[3]!.method).toBe("fedit, rank 768 (at most fltac's total)");
  });

  it('leave out A where it is frozen, for the methods that average', async () => {
    const { adapter, methods } = await count({ aggregation: 'ffa', loraRank: 4 });
    expect(adapter.values).toBe(lora(4) + HEAD);
    expect(methods.map(({ trainable }) => trainable)).toEqual([
      5 * (lora(4) / 2 + HEAD),
      5 * (lora(4) + HEAD),
      lora(4) / 2 + HEAD,
      lora(20) / 2 + HEAD,
      5 * (lora(4) + HEAD),
      5 * (109_482_240 + HEAD),
    ]);
    expect(methods[2]!.derivation).toBe('73,728 rank-4 LoRA B + 1,538 head');
  });

  it('follow tasks, target modules and train_head', async () => {
    const { adapter, methods } = await count({
      ...{ tasks: ['sst2', 'rte'], targetModules: ['query', 'key', 'value'], trainHead: false, loraRank: 2 },
    });
    expect(adapter).toMatchObject({ lora: 1.5 * lora(2), head: 0 });
    expect(methods[0]!.trainable).toBe(2 * 1.5 * lora(2));
  });
});

describe('counts of ViT-B/16', () => {
  it('are the published ones', async () => {
    const { published } = await count({ scenario: 'cifar' });
    expect(published!.counts).toMatchObject([
      { method: 'FL-TAC', values: 36_864, derivation: '36,864 rank-1 LoRA, without a head' },
      { method: 'FedIT', values: 294_912, derivation: 'rank 8 x 36,864' },
      {
        method: 'full fine-tuning',
        values: 86_862_568,
        derivation: '85,798,656 ViT-B/16 + 769,000 head of 1000 classes + 294,912 rank-8 LoRA',
      },
    ]);
  });

  it('are those of the adapters that are trained: without the head, or with it', async () => {
    const { adapter, backbone, methods } = await count({ scenario: 'cifar' });
    expect(adapter).toMatchObject({ lora: lora(4), head: 0 });
    expect(backbone).toBe(85_798_656);
    expect(methods.at(-1)!.trainable).toBe(2 * (85_798_656 + 100 * 769));
    const withHead = await count({ scenario: 'cifar', trainHead: true });
    expect(withHead.adapter).toMatchObject({ lora: lora(4), head: 100 * 769 });
    expect(withHead.methods[0]!.uploadMost).toBe(2 * (lora(4) + 100 * 769) * 4);
  });
});

describe('counts of LLaMA-7B', () => {
  it('are the published ones', async () => {
    const { published } = await count({ scenario: 'dolly' });
    expect(published!.counts).toMatchObject([
      {
        method: 'FL-TAC',
        values: 4_259_840,
        derivation: '8 tasks x (524,288 rank-1 LoRA + 8,192 head of 2 classes without bias)',
      },
      { method: 'FedIT', values: 8_519_680, derivation: expect.stringContaining('rank 16 x 532,480') as string },
      { method: 'full fine-tuning', values: 6_607_884_288 },
    ]);
  });

  it('are those of the adapters that are trained, and full fine-tuning has all values of the model', async () => {
    const { adapter, methods } = await count({ scenario: 'dolly' });
    expect(adapter).toMatchObject({ rank: 8, lora: 8 * 524_288, head: 0 });
    expect(methods.at(-1)!.trainable).toBe(8 * 6_738_415_616);
  });

  it('hold output words that are also the input words once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fltac-tied-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(
      join(folder, 'config.json'),
      JSON.stringify({ ...presetShape('huggyllama/llama-7b'), tie_word_embeddings: true }),
    );
    const { methods } = await count({ scenario: 'dolly', modelName: folder });
    expect(methods.at(-1)!.trainable).toBe(8 * 6_607_343_616);
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
