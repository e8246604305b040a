/** What clients changed of the adapters they received: seen from the server, whatever they say of themselves. */
import type { AdapterLayout } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { Bank } from './engine.js';
import type { Method } from './methods.js';
import type { PlannedAdapter } from './plan.js';
import type { Submission } from './server.js';
import type { FederationSettings } from './settings.js';

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

/** The longest update that counts whole; null where none is bounded. What is not sent is not bounded either. */
export function mostNorm(
  { grouping }: Pick<Method, 'grouping'>,
  { maxUpdateNorm = null }: Pick<FederationSettings, 'maxUpdateNorm'>,
): number | null {
  return grouping === 'none' ? null : maxUpdateNorm;
}

export interface BoundOptions {
  bank: Bank;
  submissions: readonly Submission[];
  /** of the plan, in submission order */
  adapters: readonly PlannedAdapter[];
  /** what the client of `adapters[i]` had received, layout.size values */
  received: (i: number) => Float32Array;
  /** the longest update that counts whole; null where none is bounded */
  maxUpdateNorm: number | null;
  round: number;
}

/**
 * Measures each submission against what its client had received, and shortens it in the bank where it is longer than is
 * allowed.
 *
 * @returns in submission order, each as it was before it was shortened
 * @throws FltacError NON_FINITE for values that are not finite
 */
export function boundUpdates(options: BoundOptions): Update[] {
  const { bank, submissions, adapters, maxUpdateNorm, round } = options;
  const sent = new Set(submissions.map(({ row }) => row));
  return adapters.flatMap(({ client, row }, i) => {
    if (!sent.has(row)) return [];
    const received = options.received(i);
    const values = bank.get(row);
    const update = updateOf(bank.layout, received, values);
    if (!Number.isFinite(update.norm)) {
      throw new FltacError('NON_FINITE', `round ${round}: client ${client} sent values that are not finite`);
    }
    if (maxUpdateNorm !== null && update.norm > maxUpdateNorm) {
      bank.set(row, clipUpdate(received, values, update.norm, maxUpdateNorm));
    }
    return [update];
  });
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
