/** What the figures share: scores of a run, what it sent, and which cluster stands for which task. */
import { METHODS } from '../federation/methods.js';
import { assignLeastCost } from '../federation/scoring.js';
import { score } from '../run/table.js';
import type { AssignmentRecord } from './journals.js';
import type { Evaluation, Run } from './runs.js';

const BYTES_PER_VALUE = Float32Array.BYTES_PER_ELEMENT;
export const MEGABYTE = 1e6;

/** All tasks of the runs, in the order in which the first run that has them lists them. */
export function allTasks(runs: readonly Run[]): string[] {
  return [...new Set(runs.flatMap((run) => run.tasks))];
}

export function scoresOf(run: Run, task: string): Evaluation[] {
  return run.evaluations.filter((record) => record.task === task).sort((a, b) => a.round - b.round);
}

/** The score of the last evaluated round; undefined before one. */
export function finalScore(run: Run, task: string): number | undefined {
  const last = scoresOf(run, task).at(-1);
  return last === undefined || (last.round === 0 && run.plannedRounds > 0) ? undefined : last.metric;
}

/** The score of the backbone with the common initial adapter. */
export function untunedScore(runs: readonly Run[], task: string): number | undefined {
  return firstDefined(runs, (run) => scoresOf(run, task).find((record) => record.round === 0)?.metric);
}

/** Share of the most frequent label of the evaluated rows; undefined for losses, and for runs that did not record it. */
export function majorityFloor(runs: readonly Run[], task: string): number | undefined {
  return firstDefined(
    runs,
    (run) => scoresOf(run, task).find((record) => record.majority_floor != null)?.majority_floor,
  );
}

/** What scores are read beside. */
export interface Reference {
  readonly name: string;
  readonly of: (task: string) => number | undefined;
}

/**
 * A reference of some runs: one for all where those that have it show the same digits, else one for each run, since runs of
 * other seeds, backbones or evaluated rows have others.
 *
 * @param of `untunedScore` or `majorityFloor`
 */
export function references(
  name: string,
  runs: readonly Run[],
  of: (runs: readonly Run[], task: string) => number | undefined,
): Reference[] {
  const differ = (task: string) => {
    const values = runs.flatMap((run) => of([run], task) ?? []);
    return new Set(values.map(score)).size > 1;
  };
  if (!allTasks(runs).some(differ)) return [{ name, of: (task) => of(runs, task) }];
  return runs.map((run) => ({ name: `${name}, ${run.name}`, of: (task) => of([run], task) }));
}

function firstDefined<T>(runs: readonly Run[], of: (run: Run) => T | null | undefined): T | undefined {
  for (const run of runs) {
    const value = of(run);
    if (value !== undefined && value !== null) return value;
  }
  return undefined;
}

/** Rounds in which every task that is evaluated at all has a score, with the mean over these tasks. */
export function meanScores(run: Run): { round: number; mean: number }[] {
  const byRound = groupBy(run.evaluations, (record) => record.round);
  const most = Math.max(...[...byRound.values()].map((records) => records.length));
  return [...byRound]
    .filter(([, records]) => records.length === most)
    .map(([round, records]) => ({ round, mean: meanOf(records.map((record) => record.metric)) }))
    .sort((a, b) => a.round - b.round);
}

export function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export interface Traffic {
  /** bytes of all clients together */
  readonly up: number;
  readonly down: number;
}

/**
 * What clients and server sent in the rounds up to `round`: as recorded, or else one adapter of float32 values for each
 * submission and back; nothing where the method averages nothing. undefined where the run did not even record how long its adapters are.
 */
export function trafficUpTo(run: Run, round: number): Traffic | undefined {
  if (run.communication.length > 0) {
    const records = run.communication.filter((record) => record.round <= round);
    const total = (of: 'up' | 'down') => records.reduce((sum, record) => sum + record[of], 0);
    return { up: total('up'), down: total('down') };
  }
  if (METHODS[run.config.method].grouping === 'none') return { up: 0, down: 0 };
  const values = run.environment.adapter_values;
  if (values === undefined) return undefined;
  const sent = run.assignments.filter((record) => record.round > 0 && record.round <= round);
  const bytes = sent.reduce((sum, { labels }) => sum + labels.length, 0) * values * BYTES_PER_VALUE;
  return { up: bytes, down: bytes };
}

export function lastRound(run: Run): number {
  return run.rounds.at(-1)?.round ?? 0;
}

/** Assignments of rounds whose labels are clusters that were scored against the tasks. */
export function scoredAssignments(run: Run): AssignmentRecord[] {
  return run.assignments.filter((record) => record.clustering_accuracy !== null);
}

/**
 * The task that each cluster stands for under the best one-to-one match (as clustering accuracy takes it), by label; -1
 * for a cluster that is left over, and index in `tasks` otherwise.
 */
export function tasksOfClusters(record: AssignmentRecord, tasks: readonly string[]): Map<number, number> {
  const labels = [...new Set(record.labels)].sort((a, b) => a - b);
  const counts = countTable(record, labels, tasks);
  const columns = assignLeastCost(counts.map((line) => line.map((count) => -count)));
  return new Map(labels.map((label, i) => [label, matched(counts[i]!, columns[i]!)]));
}

function matched(counts: readonly number[], column: number): number {
  return column >= 0 && counts[column]! > 0 ? column : -1;
}

/** counts[label][task] = submissions. */
export function countTable(
  { labels, true_tasks: truth }: AssignmentRecord,
  rows: readonly number[],
  tasks: readonly string[],
): number[][] {
  const table = rows.map(() => tasks.map(() => 0));
  labels.forEach((label, i) => {
    const column = tasks.indexOf(truth[i]!);
    if (column >= 0) table[rows.indexOf(label)]![column]! += 1;
  });
  return table;
}

/** At most `most` of the items, evenly spaced, the first and the last among them. */
export function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  if (most === 1) return [items.at(-1)!];
  const step = (items.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => items[Math.round(i * step)]!);
}

/** How a caption says that not all rounds are shown. */
export function shownRounds(shown: number, all: number): string {
  return shown < all ? ` ${shown} of ${all} rounds are shown, evenly spaced.` : '';
}
