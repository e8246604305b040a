/** Config keys: server. */
import { boolean, integer, integerOr, number, oneOf, optionalNumber } from '../kinds.js';
import { KEY, rowsOf } from '../row.js';

const key = rowsOf('server');

export const SERVER_KEYS = {
  weights: key({
    ...KEY,
    kind: oneOf(['samples', 'uniform']),
    default: 'samples',
    meaning: 'weights of the averages: by number of samples, or all equal',
  }),
  aggregation: key({
    ...KEY,
    kind: oneOf(['mean', 'delta_w', 'ffa', 'fedsa']),
    default: 'mean',
    meaning:
      'what is averaged in a cluster: the factors A and B (mean, as published), their products B A, factored again by an ' +
      'SVD (delta_w), B with A frozen at its common start (ffa), A while B stays with the client (fedsa)',
    alsoCalled: ['aggregate', 'aggregator'],
  }),
  upload_format: key({
    ...KEY,
    kind: oneOf(['float32', 'bfloat16', 'int8']),
    default: 'float32',
    meaning:
      'format in which clients send what changed in an adapter; what rounding takes away is sent later (error feedback)',
    alsoCalled: ['compression', 'quantization', 'quantisation'],
  }),
  max_update_norm: key({
    ...KEY,
    kind: optionalNumber({ above: 0 }),
    default: null,
    meaning:
      'longest change (Euclidean norm over all values of an adapter) that a client may make in a round; longer ones are ' +
      'shortened to it before K-means; null allows any',
    alsoCalled: ['clip_norm', 'norm_bound', 'max_norm'],
  }),
  kmeans_k: key({
    ...KEY,
    kind: integerOr(['tasks', 'auto'], { min: 1, max: 100_000 }),
    default: 'tasks',
    meaning:
      'clusters of K-means: tasks takes the number of tasks, auto the number from 2 to 20 whose clusters are told apart ' +
      'best (mean silhouette)',
    alsoCalled: ['k', 'n_clusters', 'clusters', 'num_clusters'],
  }),
  kmeans_space: key({
    ...KEY,
    kind: oneOf(['parameters', 'delta_w']),
    default: 'parameters',
    meaning:
      'where adapters are compared: parameters takes their values as they are, delta_w the weight changes B A that they ' +
      'stand for',
    alsoCalled: ['cluster_space', 'feature_space'],
  }),
  kmeans_metric: key({
    ...KEY,
    kind: oneOf(['euclidean', 'cosine']),
    default: 'euclidean',
    meaning: 'how adapters are compared: cosine by their directions alone',
  }),
  kmeans_standardize: key({
    ...KEY,
    kind: boolean(),
    default: false,
    meaning: "whether each tensor of the adapters is divided by its values' standard deviation before K-means",
    alsoCalled: ['standardize'],
  }),
  kmeans_n_init: key({
    ...KEY,
    kind: integer({ min: 1, max: 10_000 }),
    default: 10,
    meaning: 'k-means++ starts, of which the one with the least inertia is kept',
  }),
  kmeans_max_iter: key({
    ...KEY,
    kind: integer({ min: 1 }),
    default: 300,
    meaning: 'most Lloyd iterations of a start',
  }),
  kmeans_tol: key({
    ...KEY,
    kind: number({ min: 0 }),
    default: 1e-4,
    meaning: "a start ends when its centroids move by less than this, relative to the columns' mean variance",
  }),
};
