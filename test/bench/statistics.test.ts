import { expect, it } from 'vitest';
import { statistics } from '../../src/bench/statistics.js';

it('gives least, median and most, in whatever order the times come', () => {
  expect(statistics([3, 10, 1])).toEqual({ least: 1, median: 3, most: 10 });
  expect(statistics([4, 1, 2, 10])).toEqual({ least: 1, median: 3, most: 10 });
  expect(statistics([7])).toEqual({ least: 7, median: 7, most: 7 });
});
