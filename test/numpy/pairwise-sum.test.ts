import { expect, it } from 'vitest';
import { pairwiseSum } from '../../src/numpy/index.js';
import { allFromHex, fromHex } from '../support/hex-float.js';
import { numpyFixture } from '../support/numpy-fixtures.js';

const { sums } = numpyFixture('sums.json') as { sums: { values: string[]; sum: string }[] };

it.each(sums.map((entry) => ({ n: entry.values.length, ...entry })))(
  'adds $n values in the order NumPy does',
  ({ values, sum }) => {
    expect(pairwiseSum(Float64Array.from(allFromHex(values)))).toBe(fromHex(sum));
  },
);
