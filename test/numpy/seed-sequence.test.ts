import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { SeedSequence } from '../../src/numpy/seed-sequence.js';
import { numpyFixture } from '../support/numpy-fixtures.js';

const { seeds } = numpyFixture('streams.json') as { seeds: Record<string, { state: number[] }> };

describe('SeedSequence', () => {
  it.each(Object.keys(seeds))('spreads seed %s as NumPy does, however many words it has', (seed) => {
    expect([...new SeedSequence(BigInt(seed)).generateState(8)]).toEqual(seeds[seed]!.state);
  });

  it('a number and the same bigint are one seed', () => {
    expect(new SeedSequence(42).generateState(8)).toEqual(new SeedSequence(42n).generateState(8));
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 53, -1n])('%s is no seed', (seed) => {
    expect(() => new SeedSequence(seed)).toThrow(FltacError);
    expect(() => new SeedSequence(seed)).toThrow(/integer of 0 or more/);
  });
});
