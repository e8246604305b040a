import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AGGREGATIONS, type AggregationName } from '../../src/federation/aggregation.js';
import { GROUPINGS, aggregate, type GroupingInput, type Submission } from '../../src/federation/server.js';
import { FAKE_LAYOUT, FakeBank, FakeEngine, kmeansResult } from '../support/fake-engine.js';

function bankOf(values: readonly number[]): FakeBank {
  const bank = new FakeBank(values.length);
  values.forEach((value, row) => bank.set(row, new Float32Array(FAKE_LAYOUT.size).fill(value)));
  return bank;
}

function submissionsOf(samples: readonly number[]): Submission[] {
  return samples.map((n, i) => ({ client: i, slot: 0, row: i, samples: n }));
}

function assignmentOf(labels: readonly number[]) {
  const clusters = new Set(labels).size;
  return {
    ...{ labels: Int32Array.from(labels), clusters, inertia: 0, iterations: 1, reseeded: 0, path: 'fake' },
    ...{ margin: null, silhouette: null },
  };
}

const aggregation = AGGREGATIONS.mean;

async function means(values: number[], samples: number[], labels: number[], weights: 'samples' | 'uniform') {
  const bank = bankOf(values);
  const submissions = submissionsOf(samples);
  const centres = new FakeBank(values.length);
  await aggregate({ bank, centres, submissions, assignment: assignmentOf(labels), weights, aggregation, round: 1 });
  return values.map((_, row) => bank.get(row)[3]!);
}

describe('averaging', () => {
  it('weighs by samples inside each cluster and gives every member its mean', async () => {
    // (1*1 + 3*4) / 4 = 3.25 and (2*10 + 6*20) / 8 = 17.5
    expect(await means([1, 10, 4, 20], [1, 2, 3, 6], [0, 1, 0, 1], 'samples')).toEqual([3.25, 17.5, 3.25, 17.5]);
  });

  it('takes plain means with weights: uniform', async () => {
    expect(await means([1, 10, 4, 20], [1, 2, 3, 6], [0, 1, 0, 1], 'uniform')).toEqual([2.5, 15, 2.5, 15]);
  });

  it('leaves adapters alone where each is its own cluster', async () => {
    expect(await means([1, 10], [1, 2], [1, 0], 'samples')).toEqual([1, 10]);
  });

  it('equals hand arithmetic for any adapters, weights and labels', async () => {
    const entry = fc.record({
      value: fc.float({ min: -100, max: 100, noNaN: true }),
      samples: fc.integer({ min: 1, max: 1e6 }),
      label: fc.integer({ min: 0, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 20 }), async (entries) => {
        const dense = [...new Set(entries.map((e) => e.label))].sort();
        const labels = entries.map((e) => dense.indexOf(e.label));
        const got = await means(
          entries.map((e) => e.value),
          entries.map((e) => e.samples),
          labels,
          'samples',
        );
        got.forEach((value, i) => {
          const own = entries.filter((_, other) => labels[other] === labels[i]);
          const total = own.reduce((sum, e) => sum + e.samples, 0);
          const expected = own.reduce((sum, e) => sum + (e.samples / total) * e.value, 0);
          expect(Math.abs(value - expected)).toBeLessThanOrEqual(1e-4);
        });
      }),
    );
  });

  it('is checked: an engine whose mean is not the weighted mean stops the run', async () => {
    const bank = bankOf([1, 2, 3]);
    const centres = new FakeBank(2);
    bank.average = ({ into }) => {
      into.set(0, new Float32Array(FAKE_LAYOUT.size).fill(1.51));
      into.set(1, new Float32Array(FAKE_LAYOUT.size).fill(3));
      return Promise.resolve();
    };
    const options = {
      bank,
      centres,
      submissions: submissionsOf([1, 1, 1]),
      weights: 'samples',
      aggregation,
      round: 4,
    } as const;
    await expect(aggregate({ ...options, assignment: assignmentOf([0, 0, 1]) })).rejects.toThrow(
      /round 4: value 0 of cluster 0's mean \(\S+\) is 1.50\d+, but the weighted mean of its 2 adapters is 1.5/,
    );
  });

  it('is checked against NaN too', async () => {
    const bank = bankOf([1, 2, 3]);
    const centres = bankOf([NaN, NaN]);
    bank.average = () => Promise.resolve();
    const options = {
      bank,
      centres,
      submissions: submissionsOf([1, 1, 1]),
      weights: 'samples',
      aggregation,
      round: 1,
    } as const;
    await expect(aggregate({ ...options, assignment: assignmentOf([0, 0, 1]) })).rejects.toMatchObject({
      code: 'INTERNAL',
    });
  });
});

describe('aggregation', () => {
  /** A (2 values), B (2), head (6) of an adapter of rank 1. */
  const adapter = (a: [number, number], b: [number, number], head: number) =>
    Float32Array.of(...a, ...b, ...new Array<number>(6).fill(head));
  const FIRST = adapter([1, 0], [2, 0], 1);
  const SECOND = adapter([0, 1], [0, 4], 5);

  async function both(name: AggregationName, first = FIRST, second = SECOND) {
    const bank = new FakeBank(2);
    bank.set(0, first);
    bank.set(1, second);
    const options = { submissions: submissionsOf([3, 1]), weights: 'samples', round: 1 } as const;
    const assignment = assignmentOf([0, 0]);
    const averaged = await aggregate({
      ...options,
      ...{ bank, centres: new FakeBank(1), assignment, aggregation: AGGREGATIONS[name] },
    });
    return { products: averaged!.products, rows: [bank.get(0), bank.get(1)] as const };
  }

  // mean(B A) = 3/4 [2 0]^T [1 0] + 1/4 [0 4]^T [0 1] = diag(1.5, 1); mean A = [.75 .25], mean B = [1.5 1]
  const ofMeans = [1.5 * 0.75, 1.5 * 0.25, 1 * 0.75, 1 * 0.25];
  const off = Math.hypot(...[1.5, 0, 0, 1].map((x, i) => x - ofMeans[i]!)) / Math.hypot(1.5, 1);

  it('mean averages A and B by themselves, and tells how far their product is from the mean product', async () => {
    const { rows, products } = await both('mean');
    expect([...rows[0]]).toEqual([0.75, 0.25, 1.5, 1, 2, 2, 2, 2, 2, 2]);
    expect(rows[1]).toEqual(rows[0]);
    expect(products.factorError).toBeCloseTo(off, 6);
    expect(products.truncationError).toBe(0);
  });

  it('delta_w keeps the largest part of the mean product that has the rank, balanced, and tells what it cut off', async () => {
    const { rows, products } = await both('delta_w');
    const root = Math.sqrt(1.5);
    [root, 0, root, 0, 2].forEach((value, i) => expect(rows[0][i]).toBeCloseTo(value, 6));
    expect(rows[1]).toEqual(rows[0]);
    expect(products.factorError).toBeCloseTo(off, 6);
    expect(products.truncationError).toBeCloseTo(1 / Math.hypot(1.5, 1), 6);
  });

  it('delta_w is checked: factors of another matrix stop the run', async () => {
    const bank = new FakeBank(2);
    bank.set(0, FIRST);
    bank.set(1, SECOND);
    bank.meanProducts = ({ into }) => {
      into!.set(0, adapter([1, 0], [1, 1], 2));
      return Promise.resolve({ factorError: 0, truncationError: 0 });
    };
    const work = aggregate({
      ...{ bank, centres: new FakeBank(1), submissions: submissionsOf([3, 1]), assignment: assignmentOf([0, 0]) },
      ...{ weights: 'samples', aggregation: AGGREGATIONS.delta_w, round: 2 },
    });
    await expect(work).rejects.toThrow(
      /round 2: the factors of cluster 0 for .*query are not those of the mean product/,
    );
  });

  it('ffa averages B, exactly where A is one for all', async () => {
    const { rows, products } = await both('ffa', adapter([1, 2], [2, 0], 1), adapter([1, 2], [0, 4], 5));
    expect([...rows[0]]).toEqual([1, 2, 1.5, 1, 2, 2, 2, 2, 2, 2]);
    expect(rows[1]).toEqual(rows[0]);
    expect(products.factorError).toBeCloseTo(0, 12);
  });

  it('fedsa averages A and the head and leaves each client its B', async () => {
    const { rows } = await both('fedsa');
    expect([...rows[0]]).toEqual([0.75, 0.25, 2, 0, 2, 2, 2, 2, 2, 2]);
    expect([...rows[1]]).toEqual([0.75, 0.25, 0, 4, 2, 2, 2, 2, 2, 2]);
  });
});

describe('grouping', () => {
  const input = (values: readonly number[], k: number, announced: string[] = []): GroupingInput => ({
    engine: new FakeEngine(),
    bank: bankOf(values),
    submissions: submissionsOf(values.map(() => 1)),
    k,
    kmeans: { nInit: 10, maxIter: 300, tol: 1e-4, space: 'parameters', metric: 'euclidean', standardize: false },
    seed: 1,
    announce: (message) => announced.push(message),
  });
  const kmeans = GROUPINGS.kmeans;
  if (kmeans.sees !== 'adapters') throw new Error('K-means must see adapters only');

  it('clusters near adapters together with K-means', async () => {
    const { labels, clusters, inertia } = await kmeans.group(input([0, 9, 0.1, 9.1], 2));
    expect(labels[0]).toBe(labels[2]);
    expect(labels[1]).toBe(labels[3]);
    expect(labels[0]).not.toBe(labels[1]);
    expect(clusters).toBe(2);
    expect(inertia).toBeCloseTo(2 * FAKE_LAYOUT.size * 2 * 0.05 ** 2, 4);
  });

  it.each([3, 4])('makes each adapter its own cluster where there are no more than K = %i, and says so', async (k) => {
    const announced: string[] = [];
    const { labels, clusters, path } = await kmeans.group(input([0, 0, 9], k, announced));
    expect([...labels]).toEqual([0, 1, 2]);
    expect([clusters, path]).toEqual([3, 'own']);
    expect(announced).toHaveLength(1);
    expect(announced[0]).toMatch(new RegExp(`^3 adapters for K = ${k} clusters: each is its own cluster`));
  });

  it('leaves no number between the used clusters out', async () => {
    const engine = new FakeEngine();
    engine.kmeans = () => Promise.resolve(kmeansResult({ labels: Int32Array.of(2, 0, 2, 0) }));
    const strange = { ...input([0, 9, 0, 9], 3), engine };
    const { labels, clusters } = await kmeans.group(strange);
    expect([[...labels], clusters]).toEqual([[1, 0, 1, 0], 2]);
  });

  it('is by the true task with the oracle, which alone sees it', () => {
    const oracle = GROUPINGS.true_task;
    if (oracle.sees !== 'truth') throw new Error('the oracle must see the truth');
    expect([...oracle.group([0, 2, 0, 2]).labels]).toEqual([0, 1, 0, 1]);
  });
});
