/** Made-up tasks: every sequence is one token that names its task. */
import type { ScenarioTask } from '../../src/data/scenario.js';
import type { PackedSequences } from '../../src/engine/types.js';

export interface FakeTask extends ScenarioTask {
  /** rows of each call of trainExamples */
  readonly asked: Int32Array[];
}

export function fakeTask(name: string, token: number, trainRows: number, evalRows = 40): FakeTask {
  const asked: Int32Array[] = [];
  return {
    name,
    numLabels: 2,
    trainRows,
    evalRows,
    majorityFloor: 0.5,
    asked,
    trainExamples(rows) {
      asked.push(rows);
      return Promise.resolve(sequences(token, rows));
    },
    evalExamples: (limit) =>
      Promise.resolve(
        sequences(
          token,
          Int32Array.from({ length: Math.min(limit, evalRows) }, (_, i) => i),
        ),
      ),
  };
}

function sequences(token: number, rows: Int32Array): PackedSequences {
  return {
    ids: new Int32Array(rows.length).fill(token),
    offsets: Int32Array.from({ length: rows.length + 1 }, (_, i) => i),
    labels: rows.map((row) => row % 2),
  };
}

/** The tasks of these names, tokens 1, 2, ... */
export function fakeTasks(rows: Readonly<Record<string, number>>): FakeTask[] {
  return Object.entries(rows).map(([name, count], i) => fakeTask(name, i + 1, count));
}

/** rows[client][task]: row numbers counted up through the clients of a task. */
export function rowsOfCounts(counts: readonly (readonly number[])[]): Int32Array[][] {
  const next = counts[0]!.map(() => 0);
  return counts.map((row) =>
    row.map((count, task) => {
      const start = next[task]!;
      next[task] = start + count;
      return Int32Array.from({ length: count }, (_, i) => start + i);
    }),
  );
}
