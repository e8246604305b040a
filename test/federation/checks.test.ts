import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertClusters, assertMoved, assertWeightedMeans, type MovedCheck } from '../../src/federation/checks.js';
import { FAKE_LAYOUT, FakeBank } from '../support/fake-engine.js';

const size = FAKE_LAYOUT.size;
const STEPS = 3;
const DECAY = (1 - 0.01 * 0.1) ** STEPS;

const start = () => Float32Array.from({ length: size }, (_, i) => 0.5 + i / 10);

/** A check of an adapter whose values moved by 0.01 each, changed as a test says. */
function moved(changes: (after: Float32Array, before: Float32Array) => void, more: Partial<MovedCheck> = {}) {
  const before = more.before ?? start();
  const after = before.map((value) => value + 0.01);
  changes(after, before);
  assertMoved({
    layout: FAKE_LAYOUT,
    before,
    after,
    losses: new Float64Array(STEPS).fill(0.7),
    lr: 0.01,
    weightDecay: 0.1,
    who: 'client 3, task rte, round 9',
    ...more,
  });
}

describe('a local fine-tune', () => {
  it('passes where every tensor moved', () => {
    expect(() => moved(() => undefined)).not.toThrow();
  });

  it.each(FAKE_LAYOUT.tensors.map(({ name }, i) => [name, i] as const))('must move %s', (name, i) => {
    const { offset } = FAKE_LAYOUT.tensors[i]!;
    const end = FAKE_LAYOUT.tensors[i + 1]?.offset ?? size;
    expect(() => moved((after, before) => after.set(before.subarray(offset, end), offset))).toThrow(
      `${name} of client 3, task rte, round 9 did not move in training`,
    );
  });

  it('must move by more than weight decay', () => {
    expect(() => moved((after, before) => after.set(before.subarray(0, 2).map((value) => value * DECAY)))).toThrow(
      /lora_A.*did not move/,
    );
  });

  it('may leave A where it was in a single step from B = 0, which lets no gradient through, and in no more', () => {
    const before = start();
    before.fill(0, 2, 4);
    const keepA = (after: Float32Array) => after.set(before.subarray(0, 2));
    expect(() => moved(keepA, { before, losses: Float64Array.of(0.7) })).not.toThrow();
    expect(() => moved(keepA, { before })).toThrow(/lora_A/);
  });

  it('may leave values where they were that steps of lr cannot move in float32', () => {
    const before = start().fill(1e9, 6);
    expect(() => moved((after) => after.set(before.subarray(6), 6), { before })).not.toThrow();
  });

  it('must leave a frozen A as it is, and move the rest', () => {
    const keepA = (after: Float32Array, before: Float32Array) => after.set(before.subarray(0, 2));
    expect(() => moved(keepA, { freezesA: true })).not.toThrow();
    expect(() => moved(() => undefined, { freezesA: true })).toThrow(/lora_A.* moved in training, though it is frozen/);
    const keepAll = (after: Float32Array, before: Float32Array) => after.set(before);
    expect(() => moved(keepAll, { freezesA: true })).toThrow(/lora_B.* did not move/);
  });

  it('may do nothing once its batches are learned by heart', () => {
    const losses = new Float64Array(STEPS).fill(1e-4);
    expect(() => moved((after, before) => after.set(before), { losses })).not.toThrow();
  });

  it.each([NaN, Infinity])('must not leave %s, learned or not', (value) => {
    const spoil = (after: Float32Array) => void (after[7] = value);
    const expected = { code: 'NON_FINITE', message: expect.stringMatching(/classifier.*weight of client 3/) as string };
    expect(() => moved(spoil)).toThrow(expect.objectContaining(expected));
    expect(() => moved(spoil, { losses: new Float64Array(STEPS) })).toThrow(expect.objectContaining(expected));
  });
});

describe('clusters', () => {
  it('are counted', () => {
    expect(assertClusters({ labels: Int32Array.of(1, 0, 1, 1), clusters: 2 }, 4, 1)).toEqual([1, 3]);
  });

  it.each([
    ['lack an adapter', [0, 1], 2],
    ['are empty', [0, 0, 2], 3],
    ['are more than told', [0, 1, 2], 2],
    ['are below zero', [0, -1, 1], 2],
  ])('that %s stop the run', (_, labels, clusters) => {
    expect(() => assertClusters({ labels: Int32Array.from(labels), clusters }, 3, 5)).toThrow(
      /^round 5: 3 adapters were sent, but/,
    );
  });
});

describe('means', () => {
  function banks(values: readonly (readonly number[])[], labels: number[], weights: number[]) {
    const bank = new FakeBank(values.length);
    values.forEach((row, i) => bank.set(i, Float32Array.from(row)));
    const centres = new FakeBank(values.length);
    const rows = Int32Array.from(values.keys());
    const check = {
      bank,
      centres,
      rows,
      labels: Int32Array.from(labels),
      weights: Float64Array.from(weights),
      round: 2,
    };
    return { check, average: () => bank.average({ ...check, into: centres }) };
  }

  const value = fc.float({ min: -1e6, max: 1e6, noNaN: true });
  const rows = fc.array(fc.array(value, { minLength: size, maxLength: size }), { minLength: 2, maxLength: 9 });

  it('pass when they are right, whatever the values and weights', async () => {
    await fc.assert(
      fc.asyncProperty(rows, fc.array(fc.integer({ min: 1, max: 1e6 }), { minLength: 9 }), async (values, weights) => {
        const { check, average } = banks(
          values,
          values.map((_, i) => i % 2),
          weights.slice(0, values.length),
        );
        await average();
        const { values: checked, error } = await assertWeightedMeans(check);
        expect(checked).toBe(2 * size);
        expect(error).toBeLessThan(1e-6);
      }),
    );
  });

  it('are recomputed in every value: one that is off by a part in 10,000 stops the run and is named', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: size - 1 }), fc.integer({ min: 0, max: 1 }), async (at, cluster) => {
        const { check, average } = banks(
          [1, 2, 3, 4].map((x) => new Array<number>(size).fill(x)),
          [0, 1, 0, 1],
          [1, 2, 3, 4],
        );
        await average();
        const mean = check.centres.get(cluster);
        mean[at]! *= 1.0001;
        check.centres.set(cluster, mean);
        const { name } = FAKE_LAYOUT.tensors.filter(({ offset }) => offset <= at).at(-1)!;
        await expect(assertWeightedMeans(check)).rejects.toThrow(
          `round 2: value ${at} of cluster ${cluster}'s mean (${name})`,
        );
      }),
    );
  });
});
