import { describe, expect, it } from 'vitest';
import { roundAxis } from '../../src/report/figures/figure.js';

describe('an axis of rounds', () => {
  it.each([
    [
      [0, 1],
      [0, 1],
    ],
    [[1], [1]],
    [
      [0, 2],
      [0, 1, 2],
    ],
    [
      [1, 3],
      [1, 2, 3],
    ],
    [
      [1, 10],
      [2, 4, 6, 8, 10],
    ],
    [
      [0, 20],
      [0, 5, 10, 15, 20],
    ],
    [
      [1, 200],
      [50, 100, 150, 200],
    ],
  ])('over %j has ticks at %j, each round at most once', (rounds, ticks) => {
    expect(roundAxis(rounds.map((round) => ({ round }))).ticks).toEqual(ticks);
  });
});
