/** Splits rows into a training and a held-out part as Hugging Face `datasets` does. */
import { FltacError } from '../errors.js';
import { Generator } from '../numpy/index.js';

export interface HeldOutSplit {
  /** rows of each part, in drawn order */
  train: Int32Array;
  heldOut: Int32Array;
}

/**
 * The rows that `Dataset.train_test_split(test_size=share, seed=seed)` gives for `rows` rows: of one permutation by
 * NumPy's `default_rng(seed)` the first ceil(share x rows) are held out, the others are trained on.
 *
 * @param share above 0 and below 1
 * @returns undefined where a part would be empty, which `datasets` refuses too
 */
export function splitHeldOut(rows: number, share: number, seed: number): HeldOutSplit | undefined {
  if (!(share > 0 && share < 1))
    throw new FltacError('USAGE', `the held-out share must lie between 0 and 1, not ${share}`);
  const held = Math.ceil(share * rows);
  if (held === 0 || held >= rows) return undefined;
  const order = new Generator(seed).permutation(rows);
  return { heldOut: order.slice(0, held), train: order.slice(held) };
}
