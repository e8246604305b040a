/** What clients changed of the adapters they received: seen from the server, whatever they say of themselves. */
import type { AdapterLayout } from '../engine/types.js';

/** One submission against the adapter that its client had received. */
export interface Update {
  /** tensors that changed in any value */
  readonly movedTensors: number;
  /** Euclidean length of the change over all values */
  readonly norm: number;
}

export function updateOf({ tensors, size }: AdapterLayout, received: Float32Array, sent: Float32Array): Update {
  let movedTensors = 0;
  let squares = 0;
  tensors.forEach(({ offset }, i) => {
    const end = tensors[i + 1]?.offset ?? size;
    const before = squares;
    for (let at = offset; at < end; at += 1) squares += (sent[at]! - received[at]!) ** 2;
    if (squares > before) movedTensors += 1;
  });
  return { movedTensors, norm: Math.sqrt(squares) };
}

/**
 * Shortens a change to a norm, its direction kept: received + (sent - received) most / norm. This bounds what one client
 * can do to an average (norm bounding, Sun et al. 2019, "Can you really backdoor federated learning?").
 *
 * @param norm length of the change, more than `most`
 */
export function clipUpdate(received: Float32Array, sent: Float32Array, norm: number, most: number): Float32Array {
  const scale = most / norm;
  return sent.map((value, at) => received[at]! + (value - received[at]!) * scale);
}
