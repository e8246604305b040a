/** Config keys: clients and their data. */
import { integer, number, oneOf } from '../kinds.js';
import { FLAG, KEY, rowsOf } from '../row.js';

const key = rowsOf('partition');

export const PARTITION_KEYS = {
  n_clients: key({
    ...FLAG,
    kind: integer({ min: 1, max: 100_000 }),
    default: 10,
    meaning: 'number of clients',
    alsoCalled: ['clients', 'num_clients', 'number_of_clients'],
  }),
  dirichlet_alpha: key({
    ...FLAG,
    kind: number({ above: 0 }),
    default: 0.5,
    meaning: "concentration of the Dirichlet that splits each task's rows over the clients; small is uneven",
  }),
  min_frac: key({
    ...FLAG,
    kind: number({ min: 0, below: 1 }),
    default: 0.01,
    meaning:
      'a client whose share of a task is below this gets none of it, but for rows that rounding leaves over, as in the published split',
  }),
  partition_order: key({
    ...KEY,
    kind: oneOf(['listed', 'sorted']),
    default: 'listed',
    meaning: "order in which tasks are numbered for the partition's seeds; sorted is the published trainer's",
  }),
  seed: key({
    ...FLAG,
    kind: integer({ min: 0 }),
    default: 42,
    meaning: 'seed of every random draw: partition, initial adapter, batches, dropout, K-means',
    alsoCalled: ['random_seed'],
  }),
};
