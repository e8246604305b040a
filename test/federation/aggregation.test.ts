import { describe, expect, it } from 'vitest';
import { AGGREGATIONS, aggregationOf, leavesEqual, rangesOf } from '../../src/federation/aggregation.js';
import { FAKE_LAYOUT } from '../support/fake-engine.js';

describe('aggregations', () => {
  it('know A, B and head by their names', () => {
    const kinds = (...of: ('a' | 'b' | 'head')[]) => rangesOf(FAKE_LAYOUT, of).map(({ begin, end }) => [begin, end]);
    expect(kinds('a')).toEqual([[0, 2]]);
    expect(kinds('b')).toEqual([[2, 4]]);
    expect(kinds('head')).toEqual([
      [4, 6],
      [6, 10],
    ]);
    expect(kinds('head', 'a')).toEqual([
      [0, 2],
      [4, 6],
      [6, 10],
    ]);
  });

  it('leave equal adapters in a cluster, but for fedsa', () => {
    const equal = Object.entries(AGGREGATIONS).map(([name, aggregation]) => [name, leavesEqual(aggregation)]);
    expect(equal).toEqual([
      ['mean', true],
      ['delta_w', true],
      ['ffa', true],
      ['fedsa', false],
    ]);
  });

  it('do not change what a method trains that averages nothing', () => {
    expect(aggregationOf('none', 'ffa')).toBe(AGGREGATIONS.mean);
    expect(aggregationOf('together', 'ffa')).toBe(AGGREGATIONS.ffa);
  });
});
