/** Checks what is told of a round's submissions besides their labels: where they lay, and which of them stand out. */
import { isDeepStrictEqual } from 'node:util';
import { findOutliers } from '../../federation/outliers.js';
import { mostNorm } from '../../federation/updates.js';
import type { Evidence, Journals } from './evidence.js';
import { skipped, type Faults, type Finding } from './findings.js';
import type { AssignmentLine, GeometryLine } from './journals.js';

/** Distances are float32, and the inertia is summed by another way in the engine. */
const TOLERANCE = 1e-3;

/** Inertia, shortened submissions and outliers, recomputed from the distances and norms that were recorded. */
export function checkMeasures(run: Evidence, { assignments, geometry, metrics }: Journals, faults: Faults): Finding {
  const check = 'measures';
  const complete = metrics.rounds.length;
  const geometryOf = new Map(geometry.map((line) => [line.round, line]));
  if (geometryOf.size !== geometry.length) faults.add('geometry.jsonl has a round twice');
  for (const { round } of geometry) {
    if (round > complete + 1) faults.add(`geometry.jsonl has round ${round}, metrics.jsonl only ${complete}`);
  }
  let inertias = 0;
  for (const line of assignments.slice(0, complete)) {
    const measured = geometryOf.get(line.round);
    if (measured !== undefined && !isSample(measured, line.labels.length)) {
      faults.add(`round ${line.round}: geometry.jsonl measures submissions that the round does not have`);
      continue;
    }
    checkStandingOut(run, line, measured, faults);
    if (measured?.submissions.length !== line.labels.length || line.inertia === null) continue;
    inertias += 1;
    const expected = inertiaOf(line.labels, measured);
    if (Math.abs(line.inertia - expected) > TOLERANCE * expected) {
      faults.add(`round ${line.round}: inertia is ${line.inertia}, labels and distances give ${expected}`);
    }
  }
  const told = assignments.slice(0, complete).some(({ update_norms }) => update_norms !== undefined);
  if (inertias === 0 && !told && !faults.any) return skipped(check, 'neither distances nor update norms were recorded');
  return faults.finding(
    check,
    `outliers and shortened submissions of all rounds, inertia of ${inertias}: as recomputed`,
  );
}

/** Indices of distinct submissions, ascending. */
function isSample({ submissions }: GeometryLine, n: number): boolean {
  return submissions.every((index, i) => index < n && (i === 0 || index > submissions[i - 1]!));
}

function checkStandingOut(
  { config, method }: Evidence,
  { round, labels, update_norms: norms, clipped, outliers, clients, true_tasks: tasks }: AssignmentLine,
  measured: GeometryLine | undefined,
  faults: Faults,
): void {
  if (norms === undefined) return;
  const most = mostNorm(method, config) ?? Infinity;
  const shortened = [...norms.keys()].filter((i) => norms[i]! > most);
  if (!isDeepStrictEqual(clipped, shortened))
    faults.add(`round ${round}: clipped is not what update_norms and max_update_norm give`);
  const expected = findOutliers(norms, labels, measured).map(({ submission, ...outlier }) => ({
    ...{ submission, client: clients[submission]!, task: tasks[submission]! },
    ...outlier,
  }));
  if (!isDeepStrictEqual(outliers, expected))
    faults.add(`round ${round}: outliers are not those that update_norms and geometry.jsonl give`);
}

/** A cluster's inertia is the sum of the squared distances of its pairs over its size. */
function inertiaOf(labels: readonly number[], { squared }: GeometryLine): number {
  const sums = new Map<number, { size: number; pairs: number }>();
  for (const label of labels) {
    const { size, pairs } = sums.get(label) ?? { size: 0, pairs: 0 };
    sums.set(label, { size: size + 1, pairs });
  }
  let at = 0;
  labels.forEach((label, i) => {
    for (let j = i + 1; j < labels.length; j += 1) {
      const value = squared[at]!;
      at += 1;
      if (labels[j] === label) sums.get(label)!.pairs += value;
    }
  });
  return [...sums.values()].reduce((sum, { size, pairs }) => sum + pairs / size, 0);
}
