/** How well cluster labels match the true tasks. True task names are used here and nowhere in clustering. */
import { FltacError } from '../errors.js';

/**
 * The one-to-one assignment of rows to columns with the least total cost (the Hungarian method with potentials and
 * shortest augmenting paths: Jonker and Volgenant, Computing 38, 1987), in O(min^2 max).
 *
 * @param cost [rows][columns], rectangular, finite
 * @returns the column of each row, or -1 for a row without one where there are more rows than columns
 * @throws FltacError SHAPE when the lines differ in length, NON_FINITE when a cost is NaN or infinite
 */
export function assignLeastCost(cost: readonly (readonly number[])[]): Int32Array {
  const columns = cost[0]?.length ?? 0;
  if (cost.some((line) => line.length !== columns)) {
    throw new FltacError(
      'SHAPE',
      `an assignment needs a rectangular cost table; its first line has ${columns} entries`,
    );
  }
  if (!cost.every((line) => line.every(Number.isFinite))) {
    throw new FltacError('NON_FINITE', 'an assignment needs finite costs, but the table holds NaN or infinity');
  }
  if (cost.length <= columns) return assignEachRow(cost.length, columns, (row, column) => cost[row]![column]!);
  const rowOfColumn = assignEachRow(columns, cost.length, (column, row) => cost[row]![column]!);
  const result = new Int32Array(cost.length).fill(-1);
  rowOfColumn.forEach((row, column) => (result[row] = column));
  return result;
}

/** The same for rows <= columns: every row gets a column. */
function assignEachRow(rows: number, columns: number, cost: (row: number, column: number) => number): Int32Array {
  // Row and column 0 are sentinels; a column's owner is the row it is matched with, 0 for none.
  const rowPotential = new Float64Array(rows + 1);
  const columnPotential = new Float64Array(columns + 1);
  const owner = new Int32Array(columns + 1);
  const previous = new Int32Array(columns + 1);
  for (let row = 1; row <= rows; row++) {
    owner[0] = row;
    const slack = new Float64Array(columns + 1).fill(Infinity);
    const visited = new Uint8Array(columns + 1);
    let column = 0;
    do {
      visited[column] = 1;
      const from = owner[column]!;
      let nearest = 0;
      for (let next = 1; next <= columns; next++) {
        if (visited[next]) continue;
        const reduced = cost(from - 1, next - 1) - rowPotential[from]! - columnPotential[next]!;
        if (reduced < slack[next]!) {
          slack[next] = reduced;
          previous[next] = column;
        }
        if (nearest === 0 || slack[next]! < slack[nearest]!) nearest = next;
      }
      const delta = slack[nearest]!;
      for (let any = 0; any <= columns; any++) {
        if (visited[any]) {
          rowPotential[owner[any]!]! += delta;
          columnPotential[any]! -= delta;
        } else {
          slack[any]! -= delta;
        }
      }
      column = nearest;
    } while (owner[column] !== 0);
    for (; column !== 0; column = previous[column]!) owner[column] = owner[previous[column]!]!;
  }
  const result = new Int32Array(rows);
  for (let column = 1; column <= columns; column++) {
    if (owner[column] !== 0) result[owner[column]! - 1] = column - 1;
  }
  return result;
}

/**
 * Share of submissions whose cluster is matched with their task, under the best one-to-one match of clusters and tasks
 * (Hungarian); 0 for no submissions. Cluster numbers mean nothing but equality.
 *
 * @throws FltacError SHAPE when the two lists differ in length
 */
export function clusteringAccuracy(labels: ArrayLike<number>, truth: readonly string[]): number {
  const table = contingency(labels, truth);
  if (truth.length === 0) return 0;
  const columns = assignLeastCost(table.map((line) => line.map((count) => -count)));
  const matched = table.reduce((sum, line, row) => sum + (columns[row]! < 0 ? 0 : line[columns[row]!]!), 0);
  return matched / truth.length;
}

/**
 * Adjusted Rand index as scikit-learn's `adjusted_rand_score`: 1 for the same grouping, about 0 for a random one.
 *
 * @throws FltacError SHAPE when the two lists differ in length
 */
export function adjustedRandIndex(labels: ArrayLike<number>, truth: readonly string[]): number {
  const table = contingency(labels, truth);
  const n = truth.length;
  const squares = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count * count, 0);
  const inBoth = table.reduce((sum, line) => sum + squares(line), 0);
  const inLabels = squares(table.map((line) => line.reduce((sum, count) => sum + count, 0)));
  const inTruth = squares((table[0] ?? []).map((_, task) => table.reduce((sum, line) => sum + line[task]!, 0)));
  // Ordered pairs that are together in both groupings, in one of them only, and in none.
  const together = inBoth - n;
  const onlyLabels = inLabels - inBoth;
  const onlyTruth = inTruth - inBoth;
  const apart = n * n - inLabels - inTruth + inBoth;
  if (onlyLabels === 0 && onlyTruth === 0) return 1;
  const expected = (together + onlyTruth) * (onlyTruth + apart) + (together + onlyLabels) * (onlyLabels + apart);
  return (2 * (together * apart - onlyTruth * onlyLabels)) / expected;
}

/** table[cluster][task] = submissions, clusters and tasks in order of first appearance. */
function contingency(labels: ArrayLike<number>, truth: readonly string[]): number[][] {
  if (labels.length !== truth.length) {
    throw new FltacError(
      'SHAPE',
      `scoring needs one label per true task: ${labels.length} labels, ${truth.length} tasks`,
    );
  }
  const clusters = numbering(Array.from(labels));
  const tasks = numbering(truth);
  const table = Array.from(clusters.keys(), () => new Array<number>(tasks.size).fill(0));
  truth.forEach((task, i) => (table[clusters.get(labels[i]!)!]![tasks.get(task)!]! += 1));
  return table;
}

/** The distinct values, numbered in order of first appearance. */
function numbering<T>(values: readonly T[]): Map<T, number> {
  return new Map([...new Set(values)].map((value, index) => [value, index]));
}
