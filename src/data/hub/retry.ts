/** Tries that fail for a passing reason again, with growing waits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FltacError } from '../../errors.js';
import type { Log } from '../../run/log.js';
import { PassingFailure } from './failures.js';
import type { RetryPolicy } from './settings.js';

export interface HubContext {
  log: Log;
  signal?: AbortSignal | undefined;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or has failed `policy.attempts` times in a row. An attempt that got
 * something done before it failed calls `progressed`, and the count begins anew.
 * @throws what the attempt throws, or a PassingFailure's own error; ABORTED when the signal fires while waiting
 */
export async function withRetries<T>(
  policy: RetryPolicy,
  context: HubContext,
  attempt: (progressed: () => void) => Promise<T>,
): Promise<T> {
  for (let failures = 0; ;) {
    try {
      return await attempt(() => (failures = 0));
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      failures += 1;
      const wait = error.waitMs ?? Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1));
      if (failures >= policy.attempts || wait > policy.longestWaitMs) throw error.failure;
      const seconds = (wait / 1000).toFixed(1);
      context.log.warn(`${error.summary}; trying again in ${seconds} s (try ${failures + 1} of ${policy.attempts})`);
      await pause(wait, context.signal);
    }
  }
}

/** Waits, unless the signal fires. @throws ABORTED */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  checkAborted(signal);
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => checkAborted(signal));
}

/** @throws ABORTED when the signal has fired */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted();
}

export function aborted(): FltacError {
  return new FltacError('ABORTED', 'the download was stopped; what has arrived is kept and continued next time');
}
