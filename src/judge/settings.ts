/** Where the judge is, and how it is asked: what the environment and the options say, checked once. */
import { FltacError } from '../errors.js';
import { proxySettings, type ProxySettings } from '../net/proxy.js';
import type { RetryPolicy } from '../net/retry.js';

export interface JudgeEndpoint {
  /** base address without a slash at the end, e.g. https://api.openai.com/v1 */
  baseUrl: string;
  /** sent only to the base address's origin; never part of a message */
  key: string | undefined;
  proxy: ProxySettings;
  retry: RetryPolicy;
  /** most time from a request to the end of its answer, whole milliseconds */
  timeoutMs: number;
}

const DEFAULT_BASE = 'https://api.openai.com/v1';
const RETRY: RetryPolicy = { attempts: 6, baseDelayMs: 1_000, maxDelayMs: 30_000, longestWaitMs: 300_000, jitter: 0.5 };

/**
 * OPENAI_BASE_URL (or `baseUrl`, which wins) and OPENAI_API_KEY. A key may be absent only where an address is given:
 * models served on one's own machine need none.
 *
 * @throws FltacError USAGE
 */
export function judgeEndpoint(
  options: { baseUrl?: string | undefined; timeoutMs: number },
  env: NodeJS.ProcessEnv = process.env,
): JudgeEndpoint {
  const given = (options.baseUrl ?? env['OPENAI_BASE_URL'] ?? '').trim();
  const baseUrl = readBase(given || DEFAULT_BASE);
  const key = readKey(env['OPENAI_API_KEY']);
  if (key === undefined && given === '') {
    throw new FltacError(
      'USAGE',
      `${DEFAULT_BASE} needs an API key: set OPENAI_API_KEY; or set OPENAI_BASE_URL to another OpenAI-compatible endpoint, ` +
        'such as http://localhost:8000/v1',
    );
  }
  // Timers take whole milliseconds, and 16.1 s times 1000 is none.
  const timeoutMs = Math.max(1, Math.round(options.timeoutMs));
  return { baseUrl, key, proxy: proxySettings(env), retry: RETRY, timeoutMs };
}

function readBase(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url && ['http:', 'https:'].includes(url.protocol) && !url.username && !url.password;
  if (plain && !url.search && !url.hash) return text.replace(/\/+$/, '');
  throw new FltacError(
    'USAGE',
    "the judge's base URL (OPENAI_BASE_URL or --base-url) must be an http(s) address without user name, password and " +
      `query, such as ${DEFAULT_BASE}; what it holds is not`,
  );
}

function readKey(value: string | undefined): string | undefined {
  const key = (value ?? '').trim();
  if (key === '') return undefined;
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new FltacError('USAGE', 'OPENAI_API_KEY holds characters that no key has (spaces or non-ASCII): set it again');
}

/** Whether the key would cross a network unencrypted. */
export function sendsKeyInTheClear({ baseUrl, key }: JudgeEndpoint): boolean {
  return key !== undefined && new URL(baseUrl).protocol === 'http:' && !isLoopback(baseUrl);
}

/** Whether a URL's host is this machine by its name or number. */
export function isLoopback(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
}
