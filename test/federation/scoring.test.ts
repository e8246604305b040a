import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { adjustedRandIndex, assignLeastCost, clusteringAccuracy } from '../../src/federation/scoring.js';
import { fromHex } from '../support/hex-float.js';
import { numpyFixture } from '../support/numpy-fixtures.js';
import { describeWithShared, haveShared, sharedPath } from '../support/shared.js';

/** Total cost of an assignment, which must use no column twice and leave a row out only where it has to. */
function totalCost(cost: readonly (readonly number[])[], columns: Int32Array): number {
  const used = [...columns].filter((column) => column >= 0);
  expect(new Set(used).size).toBe(used.length);
  expect(used).toHaveLength(Math.min(cost.length, cost[0]?.length ?? 0));
  return cost.reduce((sum, line, row) => sum + (columns[row]! < 0 ? 0 : line[columns[row]!]!), 0);
}

/** The least cost over all assignments, by trying each. */
function leastCostByTrying(cost: readonly (readonly number[])[]): number {
  const columns = cost[0]!.length;
  const skips = Math.max(0, cost.length - columns);
  const best = (row: number, used: number, skipped: number): number => {
    if (row === cost.length) return 0;
    let least = skipped < skips ? best(row + 1, used, skipped + 1) : Infinity;
    for (let column = 0; column < columns; column++) {
      if ((used >> column) & 1) continue;
      least = Math.min(least, cost[row]![column]! + best(row + 1, used | (1 << column), skipped));
    }
    return least;
  };
  return best(0, 0, 0);
}

describe('assignLeastCost', () => {
  it('finds the least cost that trying every assignment finds, for wide and tall tables', () => {
    const table = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })).chain(([rows, columns]) => {
      const line = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: columns, maxLength: columns });
      return fc.array(line, { minLength: rows, maxLength: rows });
    });
    fc.assert(
      fc.property(table, (cost) => {
        expect(totalCost(cost, assignLeastCost(cost))).toBe(leastCostByTrying(cost));
      }),
      { numRuns: 1000 },
    );
  });

  it('solves the textbook case', () => {
    const cost = [
      [4, 1, 3],
      [2, 0, 5],
      [3, 2, 2],
    ];
    expect([...assignLeastCost(cost)]).toEqual([1, 0, 2]);
  });

  it('gives nothing for no rows and -1 where there are no columns', () => {
    expect([...assignLeastCost([])]).toEqual([]);
    expect([...assignLeastCost([[], []])]).toEqual([-1, -1]);
  });

  it('refuses ragged and non-finite tables', () => {
    expect(() => assignLeastCost([[1, 2], [1]])).toThrow(FltacError);
    expect(() => assignLeastCost([[NaN]])).toThrow(/finite/);
  });
});

const grouping = fc.array(fc.tuple(fc.nat({ max: 6 }), fc.nat({ max: 5 })), { minLength: 1, maxLength: 60 });

describe('clusteringAccuracy', () => {
  it('is the matched share under the best match', () => {
    expect(clusteringAccuracy([0, 0, 1, 1, 2, 2], ['b', 'b', 'a', 'a', 'c', 'c'])).toBe(1);
    expect(clusteringAccuracy([0, 0, 0, 0], ['a', 'a', 'b', 'b'])).toBe(0.5);
    expect(clusteringAccuracy([5, 5, 9, 9, 9], ['a', 'b', 'b', 'b', 'a'])).toBe(3 / 5);
    // two clusters cannot both be matched with one task
    expect(clusteringAccuracy([0, 0, 1, 1], ['a', 'a', 'a', 'a'])).toBe(0.5);
    // taking the largest cell (3) first would match 3 of 7; the best match gives it up for 2 + 2
    expect(clusteringAccuracy([0, 0, 0, 0, 0, 1, 1], ['a', 'a', 'a', 'b', 'b', 'a', 'a'])).toBe(4 / 7);
    expect(clusteringAccuracy([], [])).toBe(0);
  });

  it('does not change when clusters or tasks are renamed', () => {
    fc.assert(
      fc.property(grouping, fc.integer({ min: 1, max: 6 }), (pairs, shift) => {
        const labels = pairs.map(([label]) => label);
        const truth = pairs.map(([, task]) => `t${task}`);
        const accuracy = clusteringAccuracy(labels, truth);
        const renamed = labels.map((label) => ((label + shift) % 7) * 3 + 2);
        expect(clusteringAccuracy(renamed, truth)).toBe(accuracy);
        expect(
          clusteringAccuracy(
            Int32Array.from(labels),
            truth.map((name) => `${name}!`),
          ),
        ).toBe(accuracy);
      }),
    );
  });

  it('lies between the largest cell and 1', () => {
    fc.assert(
      fc.property(grouping, (pairs) => {
        const counts = new Map<string, number>();
        for (const pair of pairs) counts.set(pair.join(), (counts.get(pair.join()) ?? 0) + 1);
        const accuracy = clusteringAccuracy(
          pairs.map(([label]) => label),
          pairs.map(([, task]) => `t${task}`),
        );
        expect(accuracy).toBeGreaterThanOrEqual(Math.max(...counts.values()) / pairs.length);
        expect(accuracy).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('refuses lists of different lengths', () => {
    expect(() => clusteringAccuracy([0], [])).toThrow(FltacError);
  });
});

describe('adjustedRandIndex', () => {
  const { cases } = numpyFixture('scores.json') as { cases: { labels: number[]; truth: string[]; ari: string }[] };

  it.each(cases)("equals scikit-learn's value", ({ labels, truth, ari }) => {
    expect(adjustedRandIndex(labels, truth)).toBe(fromHex(ari));
  });

  it('is 1 for the same grouping under other names', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 5 }), { maxLength: 40 }), (labels) => {
        const truth = labels.map((label) => `task${(label * 5 + 3) % 7}`);
        expect(adjustedRandIndex(labels, truth)).toBe(1);
      }),
    );
  });

  it('agrees with the formula over pairs (Hubert and Arabie, 1985)', () => {
    expect(adjustedRandIndex([0, 0, 1, 1], ['a', 'a', 'b', 'c'])).toBeCloseTo(4 / 7, 15);
    expect(adjustedRandIndex([0, 1, 0, 1], ['a', 'a', 'b', 'b'])).toBe(-0.5);
    expect(adjustedRandIndex([0, 0, 0, 0], ['a', 'a', 'b', 'b'])).toBe(0);
  });

  it('refuses lists of different lengths', () => {
    expect(() => adjustedRandIndex([0, 1], ['a'])).toThrow(/2 labels, 1 tasks/);
  });
});

describeWithShared("SciPy's assignments", () => {
  // A skipped block is still read for its tests, which here need the file.
  if (!haveShared) return;
  const golden = JSON.parse(readFileSync(sharedPath('golden/hungarian.json'), 'utf8')) as {
    empty_submissions_accuracy: number;
    cases: {
      table_rows_labels_cols_listed_tasks: number[][];
      assignment_optimum: number;
      labels: number[];
      true_tasks: string[];
      accuracy_hex: string;
    }[];
    real_cost_minimise: { cost: number[][]; minimum: number }[];
  };

  it.each(golden.cases)('optimum $assignment_optimum', (c) => {
    const cost = c.table_rows_labels_cols_listed_tasks.map((line) => line.map((count) => -count));
    expect(-totalCost(cost, assignLeastCost(cost))).toBe(c.assignment_optimum);
    expect(clusteringAccuracy(c.labels, c.true_tasks)).toBe(fromHex(c.accuracy_hex));
  });

  it.each(golden.real_cost_minimise)('real costs, least $minimum', ({ cost, minimum }) => {
    // the order of the sum may differ
    expect(totalCost(cost, assignLeastCost(cost))).toBeCloseTo(minimum, 12);
  });

  it('no submissions', () => {
    expect(clusteringAccuracy([], [])).toBe(golden.empty_submissions_accuracy);
  });
});
