import { describe, expect, it } from 'vitest';
import { Generator } from '../../src/numpy/index.js';
import { summarise } from '../../src/judge/summary.js';

/** Evenly spread quantiles of a normal around 0.5, so that mean and deviation are known. */
function normalScores(n: number, deviation: number): number[] {
  const g = new Generator(1);
  const values = Array.from({ length: n }, () => g.standardNormal());
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / n);
  return values.map((value) => 0.5 + (deviation * (value - mean)) / spread);
}

describe('a summary of scores', () => {
  it('has the mean, and an interval as wide as theory says', () => {
    const n = 200;
    const { mean, interval } = summarise(normalScores(n, 0.1), 'x');
    expect(mean).toBeCloseTo(0.5, 12);
    const half = (1.959964 * 0.1) / Math.sqrt(n);
    // 10,000 resamples fix the percentiles to about 2 % of the width.
    expect(interval![0]).toBeGreaterThan(0.5 - 1.05 * half);
    expect(interval![0]).toBeLessThan(0.5 - 0.95 * half);
    expect(interval![1]).toBeGreaterThan(0.5 + 0.95 * half);
    expect(interval![1]).toBeLessThan(0.5 + 1.05 * half);
  });

  it('is the same each time, and stays within the scores', () => {
    const scores = [0, 1, 1, 1];
    const first = summarise(scores, 'open_qa');
    expect(summarise(scores, 'open_qa')).toEqual(first);
    expect(first).toEqual({ mean: 0.75, interval: [0.25, 1] });
    expect(summarise([0.5, 0.5, 0.5], 'x')).toEqual({ mean: 0.5, interval: [0.5, 0.5] });
  });

  it('has no interval for one score, and no mean for none', () => {
    expect(summarise([0.4], 'x')).toEqual({ mean: 0.4, interval: null });
    expect(summarise([], 'x')).toEqual({ mean: null, interval: null });
  });
});
