/** Requests that fail for a passing reason are tried again, with growing waits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';

/** How often and how patiently a request is tried again. */
export interface RetryPolicy {
  /** tries in a row without progress before giving up */
  attempts: number;
  /** wait before the second try, doubled for each further one */
  baseDelayMs: number;
  maxDelayMs: number;
  /** longest wait that a server may ask for (Retry-After); more than this is a failure */
  longestWaitMs: number;
  /** share of a wait that is drawn at random, so that those who failed together do not come back together; default 0 */
  jitter?: number;
}

export interface RetryContext {
  log: Log;
  signal?: AbortSignal | undefined;
}

/** A failure that may pass when tried again, after `waitMs` where the server said so. */
export class PassingFailure extends Error {
  constructor(
    /** what happened, without advice */
    readonly summary: string,
    /** what to throw once the tries are used up */
    readonly failure: FltacError,
    readonly waitMs?: number,
  ) {
    super(summary);
  }
}

/** Answers that may be others the next time. */
export const PASSING_STATUS: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** Failures of a connection that may pass, by the code of their innermost cause. */
export const PASSING_CODE: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/**
 * Runs `attempt` until it succeeds, fails for good, or has failed `policy.attempts` times in a row. An attempt that got
 * something done before it failed calls `progressed`, and the count begins anew.
 * @throws what the attempt throws, or a PassingFailure's own error; ABORTED when the signal fires while waiting
 */
export async function withRetries<T>(
  policy: RetryPolicy,
  context: RetryContext,
  attempt: (progressed: () => void) => Promise<T>,
): Promise<T> {
  for (let failures = 0; ;) {
    try {
      return await attempt(() => (failures = 0));
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      failures += 1;
      // A server that asks for no wait at all is not asked again at once.
      const wait = Math.max(error.waitMs ?? 0, backOff(policy, failures));
      if (failures >= policy.attempts || wait > policy.longestWaitMs) throw error.failure;
      const seconds = (wait / 1000).toFixed(1);
      context.log.warn(`${error.summary}; trying again in ${seconds} s (try ${failures + 1} of ${policy.attempts})`);
      await pause(wait, context.signal);
    }
  }
}

function backOff({ baseDelayMs, maxDelayMs, jitter = 0 }: RetryPolicy, failures: number): number {
  return Math.min(maxDelayMs, baseDelayMs * 2 ** (failures - 1)) * (1 - jitter * Math.random());
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
  return new FltacError('ABORTED', 'stopped; what has arrived is kept, and continued next time');
}

/** Milliseconds that a Retry-After header (seconds or a date) asks to wait. */
export function retryAfterMs(header: string | null, now = Date.now()): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

/** The innermost cause of a failed fetch, which undici wraps in "fetch failed"; `text` names the code. */
export function rootCause(error: unknown): { code: string; text: string } {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  if (current instanceof AggregateError && current.errors[0] instanceof Error) current = current.errors[0];
  const code = current instanceof Error && 'code' in current ? String(current.code) : '';
  const said = current instanceof Error ? current.message : String(current);
  return { code, text: code && !said.includes(code) ? `${code}: ${said}` : said };
}

/** First line of a text from outside, without control characters, cut to a readable length. */
export function oneLine(text: string): string {
  const line = text.split(/[\r\n]/, 1)[0] ?? '';
  return line.replace(/\p{Cc}/gu, ' ').slice(0, 200);
}
