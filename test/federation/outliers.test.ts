import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findOutliers, type Distances } from '../../src/federation/outliers.js';

/** Distances of points on a line. */
function onLine(points: readonly number[]): Distances {
  const squared = points.flatMap((a, i) => points.slice(i + 1).map((b) => (a - b) ** 2));
  return { submissions: points.map((_, i) => i), squared };
}

describe('outliers', () => {
  it('are updates much longer than the others', () => {
    expect(findOutliers([1, 1.1, 10, 0.9, 1.05], [0, 0, 1, 0, 0], undefined)).toEqual([
      { submission: 2, measure: 'update_norm', value: 10, median: 1.05 },
    ]);
  });

  it('are members far from the medoid of their cluster, whatever the other clusters are like', () => {
    const points = [0, 0.1, 0.2, 5, -0.1, 100, 103, 106, 101, 98];
    const labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1];
    const norms = points.map(() => 1);
    expect(findOutliers(norms, labels, onLine(points))).toMatchObject([{ submission: 3, measure: 'distance' }]);
  });

  it('are told once for each measure', () => {
    const found = findOutliers([1, 1, 9, 1, 1], [0, 0, 0, 0, 0], onLine([1, 1.1, 9, 0.9, 1]));
    expect(found.map(({ submission, measure }) => [submission, measure])).toEqual([
      [2, 'update_norm'],
      [2, 'distance'],
    ]);
  });

  it('need four to compare with', () => {
    expect(findOutliers([1, 1, 50], [0, 0, 0], onLine([0, 0, 50]))).toEqual([]);
  });

  it('are measured among the submissions whose distances are known', () => {
    const { squared } = onLine([0, 0.1, 7, 0.2, 0.3]);
    const distances = { submissions: [1, 2, 4, 5, 6], squared };
    expect(findOutliers([1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 0, 0, 0], distances)).toMatchObject([{ submission: 4 }]);
  });

  it('are none where all values are within twice the median', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1, max: 1.99, noNaN: true }), { maxLength: 40 }), (norms) => {
        expect(
          findOutliers(
            norms,
            norms.map(() => 0),
            undefined,
          ),
        ).toEqual([]);
      }),
    );
  });

  it('include a value scaled a hundredfold among any that differ by less than tenfold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1, max: 10, noNaN: true }), { minLength: 4, maxLength: 40 }),
        fc.nat(),
        (values, pick) => {
          const at = pick % values.length;
          const norms = values.map((value, i) => (i === at ? 100 * value : value));
          const found = findOutliers(
            norms,
            norms.map(() => 0),
            undefined,
          ).map(({ submission }) => submission);
          expect(found).toContain(at);
        },
      ),
    );
  });
});
