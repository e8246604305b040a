/**
 * The server's side of a round: group the adapters it received, average inside each group, give each its group's mean
 * back. The groupings are a table; published K-means is one row of it.
 */
import type { KmeansMetric, KmeansSpace } from '../engine/types.js';
import type { ProductMeans } from '../engine/types.js';
import { rangesOf, type Aggregation } from './aggregation.js';
import type { Bank, Engine } from './engine.js';
import { assertMeanProducts, assertWeightedMeans, type MeansProof } from './checks.js';
import type { GroupingName } from './methods.js';
import { streamKey } from './streams.js';

/** What a client sends: no task name, by design. The adapter itself lies in the bank's row. */
export interface Submission {
  readonly client: number;
  readonly slot: number;
  readonly row: number;
  /** training rows behind it */
  readonly samples: number;
}

export interface KmeansSettings {
  nInit: number;
  maxIter: number;
  tol: number;
  space: KmeansSpace;
  metric: KmeansMetric;
  standardize: boolean;
}

/** Clusters that `k: auto` gives at most. */
const MOST_K = 20;

/** All that a grouping may look at, true tasks excluded by type. */
export interface GroupingInput {
  engine: Engine;
  bank: Bank;
  /** by client, then slot */
  submissions: readonly Submission[];
  /** clusters asked for: the number of tasks, another number, or as many as the adapters themselves suggest */
  k: number | 'auto';
  kmeans: KmeansSettings;
  /** of K-means' draws in this round */
  seed: number;
  signal?: AbortSignal | undefined;
  /** tells the user of a fallback */
  announce: (message: string) => void;
}

/** Which group each submission is in. */
export interface Assignment {
  /** per submission, 0 up to `clusters`, each used */
  labels: Int32Array;
  clusters: number;
  /** sum of squared distances to the centroids; null where nothing was measured */
  inertia: number | null;
  iterations: number | null;
  /** empty clusters that K-means gave a new centroid */
  reseeded: number;
  /** how it was made, e.g. K-means' implementation "gram" */
  path: string;
  /** of each submission: how clearly it belongs to its cluster (see KmeansQuality); null where nothing was measured */
  margin: Float64Array | null;
  silhouette: Float64Array | null;
}

/** A grouping sees the adapters, or (the oracle alone) the true task of each submission, never both. */
export type Grouping = {
  readonly summary: string;
  /** whether labels mean clusters to score */ readonly scored: boolean;
} & (
  | { readonly sees: 'adapters'; group(input: GroupingInput): Promise<Assignment> }
  | { readonly sees: 'truth'; group(trueTasks: readonly number[]): Assignment }
);

export const GROUPINGS: Readonly<Record<GroupingName, Grouping>> = {
  kmeans: { sees: 'adapters', scored: true, summary: 'K-means, K = number of tasks', group: groupByKmeans },
  together: {
    sees: 'adapters',
    scored: false,
    summary: 'one group of all',
    group: (input) => Promise.resolve(unmeasured(new Int32Array(input.submissions.length), 'together')),
  },
  true_task: {
    sees: 'truth',
    scored: true,
    summary: 'the true tasks',
    group: (trueTasks) => unmeasured(Int32Array.from(trueTasks), 'true_task'),
  },
  none: {
    sees: 'adapters',
    scored: false,
    summary: 'no grouping',
    group: (input) => Promise.resolve(ownClusters(input.submissions.length, 'none')),
  },
};

async function groupByKmeans(input: GroupingInput): Promise<Assignment> {
  const n = input.submissions.length;
  const fewest = input.k === 'auto' ? 2 : input.k;
  if (n <= fewest) {
    input.announce(
      `${n} adapters for K = ${fewest} clusters: each is its own cluster, K-means does not run and nothing is averaged`,
    );
    return { ...ownClusters(n, 'own'), inertia: 0 };
  }
  const result = await input.engine.kmeans(input.bank, {
    ...input.kmeans,
    k: input.k,
    mostK: MOST_K,
    centroids: false,
    seed: input.seed,
    rows: rowsOf(input.submissions),
    signal: input.signal,
  });
  const { inertia, iterations, reseeded, path } = result;
  const { margin, silhouette } = result.quality;
  return { ...unmeasured(result.labels, path), inertia, iterations, reseeded, margin, silhouette };
}

/** The most clusters that a grouping of `submissions` adapters gives where adapters are averaged at all. */
export function mostClusters(grouping: GroupingName, k: number | 'auto', tasks: number, submissions: number): number {
  if (grouping !== 'kmeans') return tasks;
  return Math.max(1, Math.min(k === 'auto' ? MOST_K : k, submissions));
}

/** Draws of K-means in one round, as the 32-bit seed that the engine takes. */
export function kmeansSeed(seed: number, round: number): number {
  return Number(BigInt.asUintN(32, streamKey(seed, 'kmeans', round)));
}

function ownClusters(n: number, path: string): Assignment {
  return unmeasured(
    Int32Array.from({ length: n }, (_, i) => i),
    path,
  );
}

/** Numbers the used labels 0, 1, ... in their own order, so that no cluster is empty. */
function unmeasured(labels: Int32Array, path: string): Assignment {
  const used = [...new Set(labels)].sort((a, b) => a - b);
  const dense = new Map(used.map((label, i) => [label, i]));
  return {
    labels: labels.map((label) => dense.get(label)!),
    clusters: used.length,
    inertia: null,
    iterations: null,
    reseeded: 0,
    path,
    margin: null,
    silhouette: null,
  };
}

/** Aggregation weights of submissions: by sample count (FedAvg, as published code) or all equal (as the paper says). */
export const WEIGHTS = {
  samples: (submission: Submission) => submission.samples,
  uniform: () => 1,
} as const satisfies Record<string, (submission: Submission) => number>;

export type WeightsName = keyof typeof WEIGHTS;

export interface AggregateOptions {
  bank: Bank;
  /** bank of at least `assignment.clusters` rows that takes the means */
  centres: Bank;
  submissions: readonly Submission[];
  assignment: Assignment;
  weights: WeightsName;
  aggregation: Aggregation;
  round: number;
}

/** What a round's averages are known to be. */
export interface Averaged {
  readonly means: MeansProof;
  /** how the mean of LoRA's products differs from the product of means */
  readonly products: ProductMeans;
}

/**
 * FedAvg inside each cluster; every submission's row then holds its cluster's mean, but for tensors that the aggregation
 * leaves with the clients. Where every cluster has one member the rows stay as they are, being their own means.
 *
 * @returns undefined where nothing was averaged
 * @throws FltacError INTERNAL when a mean is not the weighted mean of its members (recomputed in float64)
 */
export async function aggregate(options: AggregateOptions): Promise<Averaged | undefined> {
  const { bank, centres, submissions, assignment, aggregation } = options;
  const { labels } = assignment;
  if (assignment.clusters === submissions.length) return undefined;
  const rows = rowsOf(submissions);
  const weights = Float64Array.from(submissions, WEIGHTS[options.weights]);
  await bank.average({ rows, labels, weights, into: centres });
  const means = await assertWeightedMeans({
    bank,
    centres,
    rows,
    labels,
    weights,
    round: options.round,
  });
  const products = await bank.meanProducts({
    rows,
    labels,
    weights,
    ...(aggregation.ofProducts ? { into: centres } : {}),
  });
  if (aggregation.ofProducts) assertMeanProducts({ bank, centres, rows, labels, weights, round: options.round });
  giveBack(options);
  return { means, products };
}

/** Puts each cluster's mean in its members' rows, tensor by tensor where some stay with the clients. */
function giveBack({ bank, centres, submissions, assignment, aggregation }: AggregateOptions): void {
  const kept = rangesOf(bank.layout, ['a', 'b', 'head']).filter(({ kind }) => !aggregation.shares.includes(kind));
  submissions.forEach(({ row }, i) => {
    const own = kept.length === 0 ? undefined : bank.get(row);
    bank.copyFrom(centres, assignment.labels[i]!, row);
    if (own === undefined) return;
    const mixed = bank.get(row);
    for (const { begin, end } of kept) mixed.set(own.subarray(begin, end), begin);
    bank.set(row, mixed);
  });
}

function rowsOf(submissions: readonly Submission[]): Int32Array {
  return Int32Array.from(submissions, (submission) => submission.row);
}
