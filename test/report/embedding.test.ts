import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Generator } from '../../src/numpy/index.js';
import { embedRounds, neighboursOf } from '../../src/report/embedding.js';
import type { RoundGeometry } from '../../src/report/runs.js';

/** `groups` clouds of unit spread in eight dimensions, 30 apart. */
function clouds(seed: number, round: number, n: number, groups: number): RoundGeometry {
  const random = new Generator(seed);
  const points = Array.from({ length: n }, (_, i) =>
    Array.from({ length: 8 }, (__, c) => (c === i % groups ? 30 : 0) + random.standardNormal()),
  );
  const squared = (i: number, j: number) => points[i]!.reduce((sum, x, c) => sum + (x - points[j]![c]!) ** 2, 0);
  return { round, submissions: points.map((_, i) => i), squared };
}

const key = (_: RoundGeometry, place: number) => String(place);

describe('the picture of adapters', () => {
  it('keeps clouds that are far apart in groups of their own', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 2, max: 4 }), (seed, groups) => {
        const [first] = embedRounds([clouds(seed, 1, 32, groups)], key, seed);
        const { points } = first!;
        points.forEach(([x, y], i) => {
          const others = points.map(([u, v], j) => ({ j, d: j === i ? Infinity : (x - u) ** 2 + (y - v) ** 2 }));
          const nearest = others.reduce((best, other) => (other.d < best.d ? other : best));
          expect(nearest.j % groups).toBe(i % groups);
        });
      }),
      { numRuns: 10 },
    );
  });

  it('is the same for the same distances and seed', () => {
    const rounds = [clouds(1, 1, 20, 3), clouds(2, 2, 20, 3)];
    expect(embedRounds(rounds, key, 5)).toEqual(embedRounds(rounds, key, 5));
  });

  it('moves little from a round to the next where the distances stay', () => {
    const same = clouds(3, 1, 24, 3);
    const [before, after] = embedRounds([same, { ...same, round: 2 }], key, 7);
    const spread = Math.max(...before!.points.flat()) - Math.min(...before!.points.flat());
    before!.points.forEach(([x, y], i) => {
      const [u, v] = after!.points[i]!;
      expect(Math.hypot(x - u, y - v)).toBeLessThan(0.35 * spread);
    });
  });

  it('takes equal adapters, and the fewest that there may be', () => {
    const equal: RoundGeometry = { round: 1, submissions: [0, 1, 2, 3], squared: () => 0 };
    const [found] = embedRounds([equal], key, 1);
    expect(found!.points.flat().every(Number.isFinite)).toBe(true);
    expect([4, 24, 50, 400].map(neighboursOf)).toEqual([3, 6, 12, 15]);
  });
});
