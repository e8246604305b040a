/** Config keys: rounds and local fine-tuning. */
import { integer, number, oneOf } from '../kinds.js';
import { FLAG, FREE_FLAG, KEY, rowsOf } from '../row.js';

const key = rowsOf('training');

export const TRAINING_KEYS = {
  rounds: key({
    ...FREE_FLAG,
    kind: integer({ min: 1 }),
    default: 20,
    meaning: 'federated rounds',
    alsoCalled: ['num_rounds', 'n_rounds', 'epochs'],
  }),
  local_steps: key({
    ...FLAG,
    kind: integer({ min: 1 }),
    default: 50,
    meaning: 'AdamW steps of one local fine-tune',
    alsoCalled: ['steps'],
  }),
  lr: key({
    ...FLAG,
    kind: number({ above: 0 }),
    default: 5e-4,
    meaning: "AdamW's learning rate",
    alsoCalled: ['learning_rate'],
  }),
  full_lr: key({
    ...KEY,
    kind: number({ above: 0 }),
    default: 5e-5,
    meaning: "with full: AdamW's learning rate, in place of lr (BERT's paper takes 2e-5 to 5e-5)",
  }),
  weight_decay: key({
    ...KEY,
    kind: number({ min: 0 }),
    default: 0.01,
    meaning: "AdamW's decoupled weight decay",
  }),
  batch_size: key({
    ...FLAG,
    kind: integer({ min: 1 }),
    default: 32,
    meaning: 'sequences of one training step',
    alsoCalled: ['batch'],
  }),
  max_len: key({
    ...FLAG,
    kind: integer({ min: 4 }),
    default: 128,
    meaning: 'longest sequence in tokens; longer ones are truncated',
    alsoCalled: ['max_length', 'max_seq_length', 'max_seq_len'],
  }),
  fedit_steps: key({
    ...KEY,
    kind: oneOf(['published', 'full']),
    default: 'published',
    meaning: "with fedit: local_steps are split over a client's tasks (published), or taken for each (full)",
  }),
  centralized_steps: key({
    ...KEY,
    kind: oneOf(['total', 'local']),
    default: 'total',
    meaning:
      'with centralized and full: steps of a task in a round, as many as all clients that hold it take together in a federated ' +
      'run (total), or local_steps (local)',
  }),
};
