/** What K-means takes and gives. */
import type { AdapterLayout } from './types.js';

/** The space that rows are compared in. */
export interface SpaceOptions {
  /**
   * "parameters" (default): rows as they are. "delta_w": each pair of LoRA factors counts as its product B A, which is
   * never formed; it does not depend on how the product is factored
   */
  space?: KmeansSpace;
  /** divide each tensor by the standard deviation of its values, so that values of all tensors weigh alike */
  standardize?: boolean;
  /** "cosine" compares directions only: rows are scaled to length one (default "euclidean") */
  metric?: KmeansMetric;
}

export interface KmeansOptions extends SpaceOptions {
  /** clusters; "auto" takes the number from 2 to `mostK` with the largest mean silhouette */
  k: number | 'auto';
  /** most clusters that k: "auto" tries (default 20) */
  mostK?: number;
  /** k-means++ starts of which the one with the least inertia is kept (scikit-learn's meaning; default 10) */
  nInit?: number;
  /** most Lloyd iterations of a start (default 300) */
  maxIter?: number;
  /**
   * stop when the centroids move by less than tol x the mean variance of the columns (scikit-learn's meaning; default
   * 1e-4)
   */
  tol?: number;
  /** names all random draws: the same seed gives the same result, whatever the number of threads (default 0) */
  seed?: number;
  /**
   * after Lloyd, move single rows between clusters while that lowers the inertia (Hartigan 1975; default true): with few
   * long rows Lloyd stops early, and scikit-learn's result depends much on the seed. false: scikit-learn's procedure.
   * The path "fused" has no such step
   */
  exchange?: boolean;
  /** "auto" (default) takes a GPU where this build and machine have one and the work is worth sending */
  device?: 'auto' | 'cpu' | 'cuda';
  /**
   * "gram": all starts among the n x n inner products of the rows, which one pass over them forms; for few rows.
   * "fused": one sweep over the rows an iteration; for many. "auto" (default) chooses by shape
   */
  path?: 'auto' | 'gram' | 'fused';
  /**
   * What the path "gram" forms inner products in. "auto" (default): float32 where that is faster and its error provably
   * decides nothing (see `KmeansResult.gram`), else float64, which "float64" asks for at once
   */
  gram?: 'auto' | 'float64';
  /** false leaves `centroids` empty and saves a second pass over the rows (default true) */
  centroids?: boolean;
  signal?: AbortSignal | undefined;
}

export type KmeansSpace = 'parameters' | 'delta_w';
export type KmeansMetric = 'euclidean' | 'cosine';

/** The shape of what is clustered, where the data do not say it themselves. */
export interface KmeansShape {
  /** of an array: its number of rows; of a bank: the bank rows to cluster (default: all) */
  rows?: Int32Array | number;
  /** of arrays: values of a row */
  columns?: number;
  /** the tensors that an array's columns hold; `space: "delta_w"` and `standardize` need to know */
  layout?: AdapterLayout;
}

/**
 * Rows to cluster together with others: of an array, of a bank, or of a safetensors file, which is read block by block
 * and need not fit in memory: tensor `tensor` of it, [rows, columns], or without one the whole file as a single row (an
 * adapter: its tensors in byte order of their names).
 */
export type KmeansChunk<Bank> = Float32Array | { bank: Bank; rows?: Int32Array } | { file: string; tensor?: string };

/** Judgement of a clustering without true labels, one value for each row; null where there is only one cluster. */
export interface KmeansQuality {
  /** distance (not squared) to the own cluster's mean */
  own: Float64Array;
  /** distance to the nearest mean of another cluster */
  next: Float64Array | null;
  /** (next - own) / the larger of both: 1 at the own mean, 0 halfway, negative nearer to another */
  margin: Float64Array | null;
  /** as scikit-learn's silhouette_samples; null on the path "fused" too, where it would cost n^2 distances */
  silhouette: Float64Array | null;
}

export interface KmeansResult {
  /** clusters: as asked for, or as found */
  k: number;
  /** cluster of each row, numbered by first appearance */
  labels: Int32Array;
  /** rows of each cluster; 0 only where there are fewer different rows than k */
  counts: Int32Array;
  /** [k, columns] row-major: means of the clusters' rows (of their parameters in every space); empty if not wanted */
  centroids: Float32Array;
  /** sum of squared distances to the clusters' means in the space of the clustering, in float64 */
  inertia: number;
  /** Lloyd iterations of the kept start */
  iterations: number;
  /** which implementation ran */
  path: 'gram' | 'fused';
  device: 'cpu' | 'cuda';
  /**
   * What inner products were formed in; null on the path "fused". "float32": by a bound on its error, no row could lie
   * nearer to another mean, nor another start have less inertia. Centroids and inertia come from the rows in float64 either
   * way; distances in `quality` have this precision
   */
  gram: 'float32' | 'float64' | null;
  /** empty clusters that were given a new centroid in the kept start */
  reseeded: number;
  /** rows that exchanges moved in the kept start */
  exchanged: number;
  /** rows that k-means++ drew from: all, or on the path "fused" a sample of many */
  seededFrom: number;
  /** bytes of rows read over all passes, cached or not */
  bytesRead: number;
  quality: KmeansQuality;
  /** what k: "auto" tried */
  tried: readonly { k: number; silhouette: number; inertia: number }[];
}
