/** Random streams by name: what a draw gives depends on what it is for, never on what ran before it. */
import { createHash } from 'node:crypto';
import { FltacError } from '../errors.js';
import { Generator } from '../numpy/index.js';

/**
 * The 64-bit key of the stream (seed, ...parts), e.g. (42, 'dropout', round, client, 'sst2'): the first eight bytes of
 * SHA-256 over the list written as JSON, so that distinct names give unrelated keys, the same on every platform.
 *
 * @param parts strings and safe integers; 1 and '1' are different parts
 * @throws FltacError USAGE for a seed or part that is a fraction, NaN or beyond 2^53
 */
export function streamKey(seed: number | bigint, ...parts: readonly (string | number)[]): bigint {
  for (const part of [seed, ...parts]) {
    if (typeof part === 'number' && !Number.isSafeInteger(part)) {
      throw new FltacError('USAGE', `a stream is named by strings and safe integers, not ${part}`);
    }
  }
  const name = JSON.stringify([String(seed), ...parts]);
  return createHash('sha256').update(name, 'utf8').digest().readBigUInt64BE(0);
}

/** A NumPy generator seeded with the stream's key. Throws as streamKey does. */
export function streamGenerator(seed: number | bigint, ...parts: readonly (string | number)[]): Generator {
  return new Generator(streamKey(seed, ...parts));
}

export interface BatchPlan {
  /** training rows in the order they are drawn */
  order: Int32Array;
  /** step s trains on order[batches[s]] up to order[batches[s + 1]]; steps + 1 entries */
  batches: Int32Array;
}

/**
 * The rows of `steps` batches, as a PyTorch DataLoader with shuffle=True and drop_last=False gives them when it is
 * iterated again and again: every pass is a fresh shuffle of all rows, and its last batch may be short.
 *
 * @throws FltacError USAGE for no rows with steps to do, steps below 0 or a batch size below 1
 */
export function drawBatches(rows: Int32Array, steps: number, batchSize: number, g: Generator): BatchPlan {
  if (!Number.isInteger(steps) || steps < 0 || !Number.isInteger(batchSize) || batchSize < 1) {
    throw new FltacError('USAGE', `batches need steps >= 0 and a batch size >= 1, not ${steps} and ${batchSize}`);
  }
  if (rows.length === 0 && steps > 0) {
    throw new FltacError('USAGE', `${steps} batches cannot be drawn from no rows: skip a task without data`);
  }
  const batches = new Int32Array(steps + 1);
  const passes: Int32Array[] = [];
  let drawn = 0;
  for (let step = 0; step < steps;) {
    const pass = rows.slice();
    g.shuffle(pass);
    let used = 0;
    for (; used < pass.length && step < steps; step++) {
      used = Math.min(used + batchSize, pass.length);
      batches[step + 1] = drawn + used;
    }
    drawn += used;
    passes.push(pass.subarray(0, used));
  }
  const order = new Int32Array(drawn);
  let at = 0;
  for (const pass of passes) {
    order.set(pass, at);
    at += pass.length;
  }
  return { order, batches };
}
