import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { Generator } from '../../src/numpy/index.js';
import { SeedSequence } from '../../src/numpy/seed-sequence.js';
import { allFromHex, fromHex } from '../support/hex-float.js';
import { fortyBits, numpyFixture, sha256OfFloat64, sha256OfInt64, times } from '../support/numpy-fixtures.js';
import { describeWithShared, haveShared, sharedPath } from '../support/shared.js';

interface Draws {
  n: number;
  first: string[];
  sha256: string;
}
interface Stream {
  random: string[];
  integers: Record<string, string[]>;
  normal: Draws;
  exponential: Draws;
  gamma: Record<string, Draws>;
  beta: Record<string, Draws>;
  dirichlet: { alpha: number; n: number; draws: number; first: string[]; sha256: string }[];
  permutation: Record<string, string>;
  mixed: Record<'integers_a' | 'permutation' | 'integers_b', number[]> &
    Record<'random' | 'gamma' | 'normal', string[]> & { wide: string };
}

const { seeds } = numpyFixture('streams.json') as { seeds: Record<string, Stream> };

/** The first draws are compared one by one, for a readable failure; all of them by their hash. */
function expectDraws(draw: () => number, expected: Draws): void {
  const values = times(expected.n, draw);
  expect(values.slice(0, expected.first.length)).toEqual(allFromHex(expected.first));
  expect(sha256OfFloat64(values)).toBe(expected.sha256);
}

/** How many of the first draws of gamma, beta and Dirichlet differ from NumPy's in their last bits. */
const lastBits = { compared: 0, differing: 0 };

/** Draws that go through log, exp and pow, which the C library does not always round correctly: equal to 40 bits. */
function expectNearDraws(values: readonly number[], first: readonly string[], sha256: string): void {
  allFromHex(first).forEach((expected, i) => {
    expect(Math.abs(values[i]! - expected)).toBeLessThanOrEqual(2 ** -50 * expected);
    lastBits.compared += 1;
    if (values[i] !== expected) lastBits.differing += 1;
  });
  expect(sha256OfFloat64(fortyBits(values))).toBe(sha256);
}

describe.each(Object.entries(seeds))('Generator(%s) equals NumPy:', (name, stream) => {
  const fresh = (): Generator => new Generator(BigInt(name));

  it('random', () => {
    const g = fresh();
    expect(times(stream.random.length, () => g.random())).toEqual(allFromHex(stream.random));
  });

  it.each(Object.entries(stream.integers))('integers below %s', (high, expected) => {
    const g = fresh();
    const draw = (): number => (high === '9007199254740992' ? g.integers(-1, 2 ** 53 - 1) + 1 : g.integers(0, +high));
    expect(times(expected.length, draw)).toEqual(expected.map(Number));
  });

  it('standardNormal, through wedges and tail', () => {
    const g = fresh();
    expectDraws(() => g.standardNormal(), stream.normal);
  });

  it('standardExponential, through wedges and tail', () => {
    const g = fresh();
    expectDraws(() => g.standardExponential(), stream.exponential);
  });

  it.each(Object.entries(stream.gamma))('standardGamma(%s)', (shape, expected) => {
    const g = fresh();
    const values = times(expected.n, () => g.standardGamma(Number(shape)));
    expectNearDraws(values, expected.first, expected.sha256);
  });

  it.each(Object.entries(stream.beta))('beta(%s)', (shapes, expected) => {
    const g = fresh();
    const [a, b] = shapes.split(',').map(Number) as [number, number];
    const values = times(expected.n, () => g.beta(a, b));
    expectNearDraws(values, expected.first, expected.sha256);
  });

  it.each(stream.dirichlet)('dirichlet($alpha x $n)', ({ alpha, n, draws, first, sha256 }) => {
    const g = fresh();
    const vectors = times(draws, () => g.dirichlet(new Array<number>(n).fill(alpha)));
    const values = vectors.flatMap((vector) => [...vector]);
    expectNearDraws(values, first, sha256);
  });

  it.each(Object.entries(stream.permutation))('permutation(%s)', (n, expected) => {
    expect(sha256OfInt64(fresh().permutation(Number(n)))).toBe(expected);
  });

  it('kinds of draws in a row', () => {
    const g = fresh();
    const { mixed } = stream;
    expect(times(3, () => g.integers(0, 100))).toEqual(mixed.integers_a);
    expect(times(2, () => g.random())).toEqual(allFromHex(mixed.random));
    expect(g.standardGamma(0.3)).toBe(fromHex(mixed.gamma[0]!));
    expect([...g.permutation(9)]).toEqual(mixed.permutation);
    expect(g.standardNormal()).toBe(fromHex(mixed.normal[0]!));
    expect(times(4, () => g.integers(-5, 5))).toEqual(mixed.integers_b);
    expect(g.integers(-(2 ** 40), 2 ** 40)).toBe(Number(mixed.wide));
  });
});

describe('Generator', () => {
  it('gives gamma, beta and Dirichlet draws to the bit in all but one of a hundred', () => {
    expect(lastBits.compared).toBeGreaterThan(1000);
    expect(lastBits.differing).toBeLessThan(lastBits.compared / 100);
  });

  it('a permutation holds every index once', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 500 }), (seed, n) => {
        expect(new Generator(seed).permutation(n).sort()).toEqual(Int32Array.from({ length: n }, (_, i) => i));
      }),
    );
  });

  it('integers stay in their range', () => {
    fc.assert(
      fc.property(fc.nat(), fc.maxSafeInteger(), fc.integer({ min: 1, max: 2 ** 50 }), (seed, low, range) => {
        fc.pre(Number.isSafeInteger(low + range));
        const value = new Generator(seed).integers(low, low + range);
        expect(value >= low && value < low + range && Number.isInteger(value)).toBe(true);
      }),
    );
  });

  it('a Dirichlet vector has no negative entry and sums to 1, whatever its alphas', () => {
    const alphas = fc.array(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.nat(), alphas, (seed, alpha) => {
        const shares = new Generator(seed).dirichlet(alpha);
        expect(shares.every((share) => share >= 0)).toBe(true);
        expect(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1)).toBeLessThan(1e-12);
      }),
    );
  });

  it('an empty Dirichlet vector and an empty permutation draw nothing', () => {
    const g = new Generator(1);
    expect(g.dirichlet([])).toHaveLength(0);
    expect(g.permutation(0)).toHaveLength(0);
    expect(g.random()).toBe(new Generator(1).random());
  });

  it('permutes the rows of the largest GLUE task in well under a second', () => {
    const g = new Generator(44);
    const start = performance.now();
    g.permutation(363846);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  const wrong: [string, (g: Generator) => unknown][] = [
    ['an alpha of 0', (g) => g.dirichlet([0.5, 0])],
    ['a NaN alpha', (g) => g.dirichlet([NaN])],
    ['a negative shape', (g) => g.standardGamma(-1)],
    ['a beta shape of 0', (g) => g.beta(0, 1)],
    ['an empty range', (g) => g.integers(5, 5)],
    ['a fractional bound', (g) => g.integers(0, 1.5)],
    ['a negative length', (g) => g.permutation(-1)],
    ['a length beyond 32 bits', (g) => g.permutation(2 ** 31)],
  ];
  it.each(wrong)('refuses %s', (_, call) => {
    expect(() => call(new Generator(0))).toThrow(FltacError);
  });
});

interface GoldenSeed {
  random_20: string[];
  integers_0_1000_20: number[];
  integers_0_2pow40_5: string[];
  standard_normal_50: string[];
  standard_exponential_50: string[];
  standard_gamma_20: Record<string, string[]>;
  dirichlet: Record<string, string[]>;
  permutation_10: number[];
  permutation_1000: { sha256: string; first_20: number[] };
  seed_sequence_state_8_uint32: number[];
  pcg64_raw_5: string[];
  sequence: {
    'dirichlet_0.5x10': string[];
    permutation_2490: { sha256: string };
    random_3: string[];
    integers_0_100_7: number[];
  };
}

describeWithShared("the reference streams of NumPy's default_rng", () => {
  // A skipped block is still read for its tests, which here need the file.
  if (!haveShared) return;
  const golden = JSON.parse(readFileSync(sharedPath('golden/numpy_rng.json'), 'utf8')) as {
    seeds: Record<string, GoldenSeed>;
  };

  it.each(Object.entries(golden.seeds))('seed %s', (name, e) => {
    const seed = BigInt(name);
    const draw = <T>(n: number, f: (g: Generator) => T): T[] => {
      const g = new Generator(seed);
      return times(n, () => f(g));
    };
    expect([...new SeedSequence(seed).generateState(8)]).toEqual(e.seed_sequence_state_8_uint32);
    expect(draw(5, (g) => g.randomRaw())).toEqual(e.pcg64_raw_5.map(BigInt));
    expect(draw(20, (g) => g.random())).toEqual(allFromHex(e.random_20));
    expect(draw(20, (g) => g.integers(0, 1000))).toEqual(e.integers_0_1000_20);
    expect(draw(5, (g) => g.integers(0, 2 ** 40))).toEqual(e.integers_0_2pow40_5.map(Number));
    expect(draw(50, (g) => g.standardNormal())).toEqual(allFromHex(e.standard_normal_50));
    expect(draw(50, (g) => g.standardExponential())).toEqual(allFromHex(e.standard_exponential_50));
    for (const [shape, values] of Object.entries(e.standard_gamma_20)) {
      expect(draw(20, (g) => g.standardGamma(Number(shape)))).toEqual(allFromHex(values));
    }
    for (const [kind, values] of Object.entries(e.dirichlet)) {
      const [alpha, n] = kind.split(' ')[0]!.split('x').map(Number) as [number, number];
      expect([...new Generator(seed).dirichlet(new Array<number>(n).fill(alpha))]).toEqual(allFromHex(values));
    }
    expect([...new Generator(seed).permutation(10)]).toEqual(e.permutation_10);
    expect(sha256OfInt64(new Generator(seed).permutation(1000))).toBe(e.permutation_1000.sha256);
  });

  it.each(Object.entries(golden.seeds))('seed %s, one draw after another', (name, { sequence }) => {
    const g = new Generator(BigInt(name));
    expect([...g.dirichlet(new Array<number>(10).fill(0.5))]).toEqual(allFromHex(sequence['dirichlet_0.5x10']));
    expect(sha256OfInt64(g.permutation(2490))).toBe(sequence.permutation_2490.sha256);
    expect(times(3, () => g.random())).toEqual(allFromHex(sequence.random_3));
    expect(times(7, () => g.integers(0, 100))).toEqual(sequence.integers_0_100_7);
  });
});
