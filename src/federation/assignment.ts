/** What is recorded of a round's grouping: in submission order, with the true tasks beside the labels, scored. */
import type { Geometry } from './geometry.js';
import type { Method } from './methods.js';
import type { RoundAssignment } from './outcome.js';
import { findOutliers } from './outliers.js';
import { trueTask, type Plan, type PlannedAdapter } from './plan.js';
import { adjustedRandIndex, clusteringAccuracy } from './scoring.js';
import { GROUPINGS, type Assignment, type Submission } from './server.js';
import type { Update } from './updates.js';

/** The assignment of a round whose results are too few to be averaged. */
export const SKIPPED: Assignment = {
  labels: new Int32Array(0),
  clusters: 0,
  inertia: null,
  iterations: null,
  reseeded: 0,
  path: 'skipped',
  margin: null,
  silhouette: null,
};

/** The assignment that holds before any round: all submissions share the one initial adapter. */
export function initialAssignment(plan: Plan): RoundAssignment {
  return {
    ...submissionColumns(plan, plan.adapters),
    labels: plan.adapters.map(() => 0),
    clusteringAccuracy: null,
    ari: null,
    inertia: null,
    iterations: null,
    clusters: 1,
    reseeded: 0,
    path: 'initial',
    margin: null,
    silhouette: null,
    updateNorms: [],
    clipped: [],
    outliers: [],
  };
}

export interface RecordOptions {
  plan: Plan;
  method: Pick<Method, 'grouping'>;
  /** as the server received them */
  submissions: readonly Submission[];
  /** of these, in their order */
  assignment: Assignment;
  /** in submission order */
  updates: readonly Update[];
  /** the longest update that counts whole; null where none is bounded */
  maxUpdateNorm: number | null;
  geometry: Geometry | undefined;
}

/** Puts a round's grouping in submission order and scores it. */
export function recordAssignment(options: RecordOptions): RoundAssignment {
  const { plan, method, assignment, updates, geometry } = options;
  const places = new Map(options.submissions.map((submission, i) => [submission.row, i]));
  const submitted = plan.adapters.filter(({ row }) => places.has(row));
  const inOrder = (values: Int32Array | Float64Array) => submitted.map(({ row }) => values[places.get(row)!]!);
  const labels = inOrder(assignment.labels);
  const columns = submissionColumns(plan, submitted);
  const scored = GROUPINGS[method.grouping].scored && labels.length > 0;
  const { inertia, iterations, clusters, reseeded, path } = assignment;
  const maxUpdateNorm = options.maxUpdateNorm ?? Infinity;
  const updateNorms = updates.map(({ norm }) => norm);
  return {
    ...columns,
    labels,
    clusteringAccuracy: scored ? clusteringAccuracy(labels, columns.trueTasks) : null,
    ari: scored ? adjustedRandIndex(labels, columns.trueTasks) : null,
    inertia,
    iterations,
    clusters,
    reseeded,
    path,
    margin: assignment.margin && inOrder(assignment.margin),
    silhouette: assignment.silhouette && inOrder(assignment.silhouette),
    updateNorms,
    clipped: [...updateNorms.keys()].filter((i) => updateNorms[i]! > maxUpdateNorm),
    outliers: findOutliers(updateNorms, labels, geometry),
  };
}

function submissionColumns(
  plan: Plan,
  adapters: readonly PlannedAdapter[],
): Pick<RoundAssignment, 'trueTasks' | 'clients' | 'samples'> {
  return {
    trueTasks: adapters.map((adapter) => trueTask(plan, adapter)),
    clients: adapters.map((adapter) => adapter.client),
    samples: adapters.map((adapter) => adapter.samples),
  };
}
