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

/** Words of the made-up language tasks: token 3 + i is word i. */
export const FAKE_WORDS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];

/**
 * A language model's task: row r is its token, token 3 + r mod 7, and an answer of 1 + r mod 3 tokens; a held-out row's
 * prompt is the first two.
 */
export function fakeLanguageTask(name: string, token: number, trainRows: number, evalRows = 10): FakeTask {
  const asked: Int32Array[] = [];
  const all = (rows: Int32Array) => Promise.resolve(answers(token, rows));
  return {
    name,
    numLabels: null,
    trainRows,
    evalRows,
    majorityFloor: null,
    asked,
    trainExamples(rows) {
      asked.push(rows);
      return all(rows);
    },
    evalExamples: (limit) => all(Int32Array.from({ length: Math.min(limit, evalRows) }, (_, i) => i)),
    evalPrompts: (rows) =>
      Promise.resolve({
        ids: Int32Array.from([...rows].flatMap((row) => [token, 3 + (row % 7)])),
        offsets: Int32Array.from({ length: rows.length + 1 }, (_, i) => 2 * i),
        texts: Array.from(rows, (row) => `${name} prompt ${row}`),
        references: Array.from(rows, (row) => `${name} reference ${row}`),
      }),
  };
}

function answers(token: number, rows: Int32Array): PackedSequences {
  const sequences = Array.from(rows, (row) => [token, 3 + (row % 7), ...new Array<number>(1 + (row % 3)).fill(4)]);
  const offsets = [0];
  for (const ids of sequences) offsets.push(offsets.at(-1)! + ids.length);
  return {
    ids: Int32Array.from(sequences.flat()),
    offsets: Int32Array.from(offsets),
    labels: Int32Array.from(sequences.flatMap((ids) => [-100, -100, ...ids.slice(2)])),
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
