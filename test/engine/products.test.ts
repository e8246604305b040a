import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, train, type AdapterSpec } from '../../src/engine/index.js';
import { Generator } from '../../src/numpy/index.js';
import { familyFixture } from '../support/files.js';
import { SPEC, classExamples } from '../support/models.js';

interface Fixture {
  size: number;
  rank: number;
  side: number;
  /** where A [rank, side] and B [side, rank] of each module begin */
  factors: [a: number, b: number][];
  cases: { seed: number; weights: number[]; factor_error: number; truncation_error: number; products: number[][] }[];
}

const FIXTURE = JSON.parse(
  readFileSync(new URL('../fixtures/numpy/products.json', import.meta.url), 'utf8'),
) as Fixture;

const ROBERTA: AdapterSpec = { ...SPEC, targetModules: ['query', 'value'], trainHead: true };

let backbone: Backbone;
beforeAll(async () => {
  backbone = await Backbone.load(familyFixture('roberta'), {});
});
afterAll(() => backbone.dispose());

/** B A of one module of a flat adapter, [side, side] row-major. */
function product(adapter: Float32Array, [a, b]: [number, number]): number[] {
  const { rank, side } = FIXTURE;
  return Array.from({ length: side * side }, (_, at) => {
    const [o, i] = [Math.floor(at / side), at % side];
    let sum = 0;
    for (let r = 0; r < rank; r += 1) sum += adapter[b + o * rank + r]! * adapter[a + r * side + i]!;
    return sum;
  });
}

function drawn(seed: number, count: number): AdapterBank {
  const bank = new AdapterBank(backbone, ROBERTA, count);
  const random = new Generator(seed);
  for (let row = 0; row < count; row += 1) {
    bank.set(
      row,
      Float32Array.from({ length: FIXTURE.size }, () => random.random() - 0.5),
    );
  }
  return bank;
}

/** All rows of a bank as one cluster: its mean with the factors of the mean product, and the errors. */
async function averaged(bank: AdapterBank, weights: Float64Array, labels = new Int32Array(weights.length)) {
  const into = new AdapterBank(backbone, ROBERTA, Math.max(...labels) + 1);
  const rows = Int32Array.from(weights, (_, i) => i);
  await bank.average({ rows, labels, weights, into });
  const means = Array.from({ length: into.rows }, (_, row) => into.get(row));
  const compared = await bank.meanProducts({ rows, labels, weights });
  expect(Array.from({ length: into.rows }, (_, row) => into.get(row))).toEqual(means);
  const errors = await bank.meanProducts({ rows, labels, weights, into });
  return { compared, errors, means, factored: Array.from({ length: into.rows }, (_, row) => into.get(row)) };
}

describe('the mean of products', () => {
  it.each(FIXTURE.cases)('of $weights.length adapters is the one of NumPy, cut to the rank', async (expected) => {
    const weights = Float64Array.from(expected.weights);
    const bank = drawn(expected.seed, weights.length);
    expect(bank.layout.size).toBe(FIXTURE.size);
    const { compared, errors, means, factored } = await averaged(bank, weights);
    expect(errors.factorError).toBeCloseTo(expected.factor_error, 9);
    expect(errors.truncationError).toBeCloseTo(expected.truncation_error, 9);
    expect(compared).toEqual({ factorError: errors.factorError, truncationError: 0 });
    FIXTURE.factors.forEach((module, m) => {
      // float32 factors: 2^-24 of entries up to about one
      product(factored[0]!, module).forEach((value, i) => expect(value).toBeCloseTo(expected.products[m]![i]!, 6));
    });
    // the head stays its mean
    expect(factored[0]!.subarray(0, 323)).toEqual(means[0]!.subarray(0, 323));
  });

  it('is balanced: A and B have equal norms, direction by direction', async () => {
    const { factored } = await averaged(drawn(1, 4), Float64Array.of(1, 1, 1, 1));
    const { rank, side } = FIXTURE;
    for (const [a, b] of FIXTURE.factors) {
      for (let r = 0; r < rank; r += 1) {
        const ofA = Math.hypot(...factored[0]!.subarray(a + r * side, a + (r + 1) * side));
        const ofB = Math.hypot(...Array.from({ length: side }, (_, o) => factored[0]![b + o * rank + r]!));
        expect(ofA / ofB).toBeCloseTo(1, 5);
      }
    }
  });

  it('of equal adapters is theirs, and the factors lose nothing', async () => {
    const bank = drawn(2, 3);
    for (const row of [1, 2]) bank.copy(0, row);
    const { errors, factored } = await averaged(bank, Float64Array.of(1, 2, 3));
    expect(errors.factorError).toBeLessThan(1e-7);
    expect(errors.truncationError).toBeLessThan(1e-7);
    for (const module of FIXTURE.factors) {
      const own = product(bank.get(0), module);
      product(factored[0]!, module).forEach((value, i) => expect(value).toBeCloseTo(own[i]!, 6));
    }
  });

  it('is made cluster by cluster, and leaves a cluster of one as it is', async () => {
    const bank = drawn(5, 3);
    const { factored, means } = await averaged(bank, Float64Array.of(1, 1, 1), Int32Array.of(1, 0, 1));
    expect(factored[0]).toEqual(bank.get(1));
    expect(factored[1]).not.toEqual(means[1]);
  });

  it('of products that are zero keeps the mean A beside a zero B, so that both can be trained', async () => {
    const bank = drawn(6, 2);
    for (const row of [0, 1]) {
      const adapter = bank.get(row);
      for (const [, b] of FIXTURE.factors) adapter.fill(0, b, b + FIXTURE.rank * FIXTURE.side);
      bank.set(row, adapter);
    }
    const { factored, means, errors } = await averaged(bank, Float64Array.of(1, 1));
    expect(factored).toEqual(means);
    expect(errors).toEqual({ factorError: 0, truncationError: 0 });
  });

  it('refuses weights that are negative or all zero', async () => {
    const bank = drawn(7, 2);
    const rows = Int32Array.of(0, 1);
    for (const weights of [Float64Array.of(1, -1), Float64Array.of(0, 0)]) {
      await expect(bank.meanProducts({ rows, labels: new Int32Array(2), weights })).rejects.toMatchObject({
        code: 'USAGE',
      });
    }
  });
});

describe('a frozen A', () => {
  it('keeps every value in training, weight decay too, while B and the head move', async () => {
    const bank = drawn(8, 1);
    const before = bank.get(0);
    const examples = classExamples(1, [5, 6, 7]);
    const job = { row: 0, examples, batches: Int32Array.of(0, 2, 3), stream: 1n };
    await train(bank, [job], { lr: 0.01, weightDecay: 0.1, cohort: 1, freezeA: true });
    const after = bank.get(0);
    const { rank, side, factors } = FIXTURE;
    for (const [a, b] of factors) {
      expect(after.subarray(a, a + rank * side)).toEqual(before.subarray(a, a + rank * side));
      expect(after.subarray(b, b + rank * side)).not.toEqual(before.subarray(b, b + rank * side));
    }
    expect(after.subarray(275, 323)).not.toEqual(before.subarray(275, 323));
  });
});
