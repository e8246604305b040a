import { describe, expect, it } from 'vitest';
import { Backbone, checkDevices, train } from '../../src/engine/index.js';
import type { DeviceMap, LoadOptions, TrainJob } from '../../src/engine/index.js';
import { assertFiniteLosses } from '../../src/federation/checks.js';
import { familyFixture } from '../support/files.js';
import { classExamples, languageExamples, openBank } from '../support/models.js';
import { describeWithShared } from '../support/shared.js';
import { SHARED_MODELS, SMALL_MODELS, traceOf, type TracedModel } from '../support/traces.js';

/** Maps over devices whose memory is one: every boundary is crossed by a copy. */
function mapsOf(layers: number): DeviceMap[] {
  const all = Array.from({ length: layers }, (_, layer) => [`layers.${layer}`, `cpu:${layer % 2}`] as const);
  return [
    { embedding: 'cpu', [`layers.0-${layers - 1}`]: 'cpu:1', output: 'cpu' },
    { embedding: 'cpu:1', ...Object.fromEntries(all), output: 'cpu:7' },
  ];
}

function placedTests(models: readonly TracedModel[]): void {
  it.each(models)('$name', async (model) => {
    const expected = await traceOf(model, { device: 'cpu' });
    for (const deviceMap of mapsOf(model.layers)) expect(await traceOf(model, { deviceMap })).toEqual(expected);
  });
}

function checkpointedTests(models: readonly TracedModel[]): void {
  it.each(models)('$name', async (model) => {
    const [map] = mapsOf(model.layers);
    const expected = await traceOf(model, { device: 'cpu' });
    expect(await traceOf(model, { device: 'cpu' }, { checkpointing: true })).toEqual(expected);
    expect(await traceOf(model, { deviceMap: map! }, { checkpointing: true })).toEqual(expected);
  });
}

describe('parts on several devices give the bits of one device, dropout on:', () => placedTests(SMALL_MODELS));
describeWithShared('golden models on several devices give the bits of one device:', () => placedTests(SHARED_MODELS));
/** Largest difference of two arrays, relative to the largest value of the first. */
function relativeDifference(expected: ArrayLike<number>, found: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let difference = 0;
  let largest = 1e-6;
  for (let i = 0; i < expected.length; i += 1) {
    if (!Number.isFinite(found[i]!)) return Infinity;
    difference = Math.max(difference, Math.abs(expected[i]! - found[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / largest;
}

// The same masks and arithmetic, summed in another order: the differences of float32 sums, which AdamW's division by the
// gradient's size makes larger in adapters.
const SUMS = 2e-5;
const STEPS = 2e-3;

function portableTests(models: readonly TracedModel[]): void {
  it.each(models)('$name', async (model) => {
    const expected = await traceOf(model, { device: 'cpu', dtype: 'float32' });
    const last = model.layers - 1;
    const everywhere = { embedding: 'portable', [`layers.0-${last}`]: 'portable', output: 'portable' };
    const mixed = {
      embedding: 'cpu',
      [`layers.0-${last - 1}`]: 'portable',
      [`layers.${last}`]: 'cpu',
      output: 'portable',
    };
    for (const deviceMap of [everywhere, mixed]) {
      const found = await traceOf(model, { deviceMap, dtype: 'float32' });
      expect(relativeDifference(expected.gradient, found.gradient)).toBeLessThan(SUMS);
      expected.losses.forEach((losses, i) => expect(relativeDifference(losses, found.losses[i]!)).toBeLessThan(SUMS));
      for (const part of ['adapters', 'logits', 'exampleLosses'] as const) {
        expected[part].forEach((values, i) => expect(relativeDifference(values, found[part][i]!)).toBeLessThan(STEPS));
      }
    }
  });

  it.each(models)('$name, with checkpointing, bit by bit', async (model) => {
    const deviceMap = { embedding: 'portable', [`layers.0-${model.layers - 1}`]: 'portable', output: 'portable' };
    expect(await traceOf(model, { deviceMap, dtype: 'float32' }, { checkpointing: true })).toEqual(
      await traceOf(model, { deviceMap, dtype: 'float32' }),
    );
  });
}

describe("kernels for other devices agree with the CPU's, dropout on:", () => portableTests(SMALL_MODELS));
describeWithShared("kernels for other devices agree with the CPU's on golden models:", () =>
  portableTests(SHARED_MODELS),
);
describe('gradient checkpointing changes no bit, dropout on:', () => checkpointedTests(SMALL_MODELS));
describeWithShared('gradient checkpointing changes no bit of golden models:', () => checkpointedTests(SHARED_MODELS));

/** Jobs of very different lengths, of which some end before others; trained in cohorts of `cohort`. */
async function trainUnequal(model: TracedModel, rank: number, load: LoadOptions, cohort: number, freezeA = false) {
  const language = model.name.includes('llama');
  const lengths = [
    [2, 2],
    [90, 61, 70, 88, 12, 30],
    [3, 4, 1],
    [30, 2],
    [2, 5, 2],
  ].map((all) => (language ? all.map((n) => n + 2) : all.map((n) => Math.min(n, 20))));
  const { bank, dispose } = await openBank(await model.folder(), lengths.length, { ...model.spec, rank }, load);
  try {
    const jobs = lengths.map((all, row): TrainJob => {
      const examples = (language ? languageExamples : classExamples)(row + 1, all);
      const batches = Int32Array.from(row % 2 === 0 ? [0, all.length] : [0, 1, all.length]);
      return { row, examples, batches, stream: BigInt(row + 30) };
    });
    const trained = await train(bank, jobs, { lr: 5e-3, cohort, freezeA });
    return { losses: trained.map(({ losses }) => losses), adapters: jobs.map(({ row }) => bank.get(row)) };
  } finally {
    dispose();
  }
}

describe('a cohort of unequal jobs on other devices gives what the CPU gives each job alone, dropout on:', () => {
  const [roberta, , llama] = SMALL_MODELS;
  const everywhere = { embedding: 'portable', 'layers.0-1': 'portable', output: 'portable' };
  it.each([
    { model: roberta!, rank: 1, cohort: 5, freezeA: false },
    { model: roberta!, rank: 5, cohort: 2, freezeA: true },
    { model: llama!, rank: 3, cohort: 4, freezeA: false },
  ])('$model.name, rank $rank, cohorts of $cohort', async ({ model, rank, cohort, freezeA }) => {
    const expected = await trainUnequal(model, rank, { device: 'cpu', dtype: 'float32' }, 1, freezeA);
    const found = await trainUnequal(model, rank, { deviceMap: everywhere, dtype: 'float32' }, cohort, freezeA);
    expected.losses.forEach((losses, i) => expect(relativeDifference(losses, found.losses[i]!)).toBeLessThan(STEPS));
    expected.adapters.forEach((values, i) =>
      expect(relativeDifference(values, found.adapters[i]!)).toBeLessThan(STEPS),
    );
  });
});

describe('losses that are read late', () => {
  it('are those of their own job and step where one diverges', async () => {
    const everywhere = { embedding: 'portable', 'layers.0-1': 'portable', output: 'portable' };
    const model = SMALL_MODELS[0]!;
    const { bank, dispose } = await openBank(await model.folder(), 2, model.spec, { deviceMap: everywhere });
    try {
      bank.set(1, new Float32Array(bank.layout.size).fill(Number.NaN));
      const examples = classExamples(1, [5, 9, 3]);
      const job = (row: number) => ({ row, examples, batches: Int32Array.of(0, 1, 2, 3), stream: 1n });
      const [sound, diverged] = await train(bank, [job(0), job(1)], { lr: 1e-3, cohort: 2 });
      expect([...sound!.losses].every(Number.isFinite)).toBe(true);
      expect([...diverged!.losses]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
      expect(bank.get(0).every(Number.isFinite)).toBe(true);
      expect(() => assertFiniteLosses(diverged!.losses, 'client 3')).toThrow(/client 3 is NaN at step 1 of 3/);
    } finally {
      dispose();
    }
  });
});

describe('a placed backbone', () => {
  it('says where each part lies and what it takes', async () => {
    const deviceMap = { embedding: 'cpu', 'layers.0': 'portable', 'layers.1': 'cpu:2', output: 'cpu:2' };
    const { info } = await Backbone.load(familyFixture('llama3'), { deviceMap, dtype: 'float32' });
    expect(info.device).toBe('cpu, portable, cpu:2');
    expect(info.placement.map(({ part, device }) => [part, device])).toEqual([
      ['embedding', 'cpu'],
      ['layers.0', 'portable'],
      ['layers.1', 'cpu:2'],
      ['output', 'cpu:2'],
    ]);
    expect(info.placement.every(({ bytes }) => bytes > 0)).toBe(true);
    expect(info.placement.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(info.bytes);
  });

  it('holds a tied head once on one device, and as a copy on another', async () => {
    const layers = { 'layers.0-1': 'cpu' };
    const load = async (output: string) => {
      const { info } = await Backbone.load(familyFixture('qwen2'), {
        deviceMap: { embedding: 'cpu', ...layers, output },
      });
      return info;
    };
    const [one, two] = [await load('cpu'), await load('cpu:1')];
    expect(one.placement.at(-1)!.bytes).toBe(0);
    expect(two.placement.at(-1)!.bytes).toBe(two.vocabSize * two.hiddenSize * 4);
  });
});

describe('loading', () => {
  // Which reports come before so short a load ends is chance; test/native/backbone_test.cc counts them.
  it('reports its parts, and stops at a signal', async () => {
    const onProgress = (done: number, total: number) => expect([done >= 1 && done <= 4, total]).toEqual([true, 4]);
    await Backbone.load(familyFixture('vit'), { onProgress });
    const signal = AbortSignal.abort();
    await expect(Backbone.load(familyFixture('vit'), { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('of a folder that is not there says so', async () => {
    await expect(Backbone.load('/nowhere')).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('/nowhere/config.json: cannot be read') as string,
    });
  });
});

describe('devices that are not there', () => {
  it('are refused before weights are read', async () => {
    await expect(Backbone.load(familyFixture('vit'), { device: 'cuda:99' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /cuda:99 does not exist: (this build of the engine has no CUDA|.*visible)/,
      ) as string,
    });
    expect(() => checkDevices({ device: 'cuda:99' })).toThrow(/does not exist/);
    expect(() => checkDevices({ device: 'gpu' })).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(() => checkDevices({ device: 'auto' })).not.toThrow();
  });

  it('of a map are told together with its other faults', () => {
    const deviceMap = { encoder: 'cpu', embedding: 'cuda:98', output: 'cuda:99' };
    expect(() => checkDevices({ deviceMap })).toThrow(/"encoder" is no part.*cuda:98 does not.*cuda:99 does not/);
    const sound = { embedding: 'cuda:98', output: 'cuda:99' };
    expect(() => checkDevices({ deviceMap: sound })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });
});
