/** What a round gives to whoever drives the federation: who took part, who was grouped with whom, and what it cost. */
import type { ProductMeans } from '../engine/types.js';
import type { MeansProof } from './checks.js';
import type { ClientTraffic } from './communication.js';
import type { TaskScore } from './evaluation.js';
import type { LocalFailure, LocalReport } from './executor.js';
import type { Geometry } from './geometry.js';
import type { Outlier } from './outliers.js';

/** An adapter as a client sent it. */
export interface SentAdapter {
  readonly client: number;
  readonly trueTask: string;
  /** layout.size values */
  readonly values: Float32Array;
}

/** Who was grouped with whom in a round: its submissions, by client, then listed task. */
export interface RoundAssignment {
  readonly labels: readonly number[];
  readonly trueTasks: readonly string[];
  readonly clients: readonly number[];
  readonly samples: readonly number[];
  /** best one-to-one match of clusters and tasks; null where the method does not cluster by task */
  readonly clusteringAccuracy: number | null;
  readonly ari: number | null;
  readonly inertia: number | null;
  readonly iterations: number | null;
  readonly clusters: number;
  readonly reseeded: number;
  readonly path: string;
  /** how clearly each submission belongs to its cluster; null where nothing was measured */
  readonly margin: readonly number[] | null;
  readonly silhouette: readonly number[] | null;
  /** length of what each submission changed of what its client had received, before any shortening */
  readonly updateNorms: readonly number[];
  /** indices of the submissions that were shortened to the norm bound */
  readonly clipped: readonly number[];
  readonly outliers: readonly Outlier[];
}

/** What a round found true of itself; what is not true stops it. */
export interface RoundProof {
  /** tensors that training moved, of all adapters together */
  readonly movedTensors: number;
  /** members of each cluster */
  readonly clusterSizes: readonly number[];
  /** absent where nothing was averaged */
  readonly means?: MeansProof;
}

/** Who took part in a round. */
export interface RoundClients {
  /** that were asked */
  readonly selected: readonly number[];
  /** of these, whose results did not arrive */
  readonly dropped: readonly number[];
  /** that did a part of their local steps only */
  readonly stragglers: readonly number[];
  /** whose training diverged */
  readonly failed: readonly LocalFailure[];
  /** false where too few results arrived: then all clients keep what they held */
  readonly aggregated: boolean;
  /** whether every client with data took its whole part, and the round counted */
  readonly everyone: boolean;
}

export interface RoundOutcome {
  readonly round: number;
  /** of the clients whose results arrived */
  readonly local: readonly LocalReport[];
  readonly clients: RoundClients;
  readonly assignment: RoundAssignment;
  /** where the submissions lay before they were averaged; absent where it is not measured */
  readonly geometry?: Geometry;
  /** absent in rounds without evaluation */
  readonly scores?: readonly TaskScore[];
  /** of the factors' averages; null where nothing was averaged */
  readonly products: ProductMeans | null;
  /** of the clients whose results arrived; none where the method sends nothing */
  readonly traffic: readonly ClientTraffic[];
  /** optimiser steps of all clients together */
  readonly optimizerSteps: number;
  readonly proof: RoundProof;
  /** wall-clock time of the round */
  readonly seconds: number;
}
