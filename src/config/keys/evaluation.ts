/** Config keys: evaluation. */
import { boolean, integer } from '../kinds.js';
import { FREE_FLAG, FREE_KEY, rowsOf } from '../row.js';

const key = rowsOf('evaluation');

export const EVALUATION_KEYS = {
  eval_every: key({
    ...FREE_FLAG,
    kind: integer({ min: 1 }),
    default: 2,
    meaning: 'rounds between two evaluations',
  }),
  max_eval_batches: key({
    ...FREE_FLAG,
    kind: integer({ min: 1 }),
    default: 50,
    meaning: 'most batches of eval_batch_size rows that a task is evaluated on, from the first row on',
  }),
  eval_batch_size: key({
    ...FREE_KEY,
    kind: integer({ min: 1 }),
    default: 64,
    meaning:
      'rows of one of the max_eval_batches, so a smaller one evaluates fewer rows; a pass has at most the tokens of so many ' +
      'of the longest rows, and on a CPU at most 1,024 for each thread, however many those are',
  }),
  report: key({
    ...FREE_KEY,
    kind: boolean(),
    default: true,
    meaning: 'whether a run ends with report.html in its folder (fltac report makes it at any time)',
  }),
  tensorboard: key({
    ...FREE_KEY,
    kind: boolean(),
    default: false,
    meaning: 'whether every round is added to an event file for TensorBoard in tensorboard/ of the folder',
    alsoCalled: ['tensor_board', 'log_tensorboard'],
  }),
  record_distances: key({
    ...FREE_KEY,
    kind: integer({ min: 0, max: 4096 }),
    default: 200,
    meaning:
      "most adapters of a round whose distances from one another are recorded for the report's pictures; 0 records none",
    alsoCalled: ['geometry', 'save_distances'],
  }),
};
