import { afterEach, describe, expect, it, vi } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { PassingFailure, retryAfterMs, withRetries, type RetryPolicy } from '../../src/net/retry.js';
import { keptLog } from '../support/hub.js';

describe('retryAfterMs', () => {
  it('reads seconds and dates', () => {
    const now = Date.parse('2024-01-01T00:00:00Z');
    expect(retryAfterMs('2', now)).toBe(2000);
    expect(retryAfterMs('Mon, 01 Jan 2024 00:00:10 GMT', now)).toBe(10_000);
    expect(retryAfterMs('Sun, 31 Dec 2023 00:00:00 GMT', now)).toBe(0);
    expect([retryAfterMs('soon', now), retryAfterMs('', now), retryAfterMs(null, now)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('withRetries', () => {
  const POLICY: RetryPolicy = { attempts: 4, baseDelayMs: 1000, maxDelayMs: 3000, longestWaitMs: 60_000 };

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  /** The waits, in seconds, of an attempt that always fails. */
  async function waitsOf(policy: RetryPolicy, waitMs?: number): Promise<string[]> {
    vi.useFakeTimers();
    const log = keptLog();
    const failure = new FltacError('NETWORK', 'gone');
    const ended = withRetries(policy, { log }, () => Promise.reject(new PassingFailure('busy', failure, waitMs)));
    const checked = expect(ended).rejects.toBe(failure);
    await vi.runAllTimersAsync();
    await checked;
    return log.lines.map((line) => / in ([\d.]+) s /.exec(line)![1]!);
  }

  it('waits twice as long each time, up to the longest delay', async () => {
    expect(await waitsOf(POLICY)).toEqual(['1.0', '2.0', '3.0']);
  });

  it('shortens waits by a random share', async () => {
    vi.spyOn(Math, 'random').mockReturnValueOnce(0).mockReturnValueOnce(0.5).mockReturnValueOnce(0.999_999);
    expect(await waitsOf({ ...POLICY, jitter: 0.5 })).toEqual(['1.0', '1.5', '1.5']);
  });

  it('waits as long as the server asks, if that is not too long', async () => {
    expect(await waitsOf({ ...POLICY, jitter: 0.5 }, 7000)).toEqual(['7.0', '7.0', '7.0']);
    expect(await waitsOf(POLICY, 61_000)).toEqual([]);
  });

  it('never waits less than it would have by itself', async () => {
    expect(await waitsOf(POLICY, 0)).toEqual(['1.0', '2.0', '3.0']);
  });
});
