/** Where and how the Hub is reached: what the environment says, checked once. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { FltacError } from '../../errors.js';
import { proxySettings, type ProxySettings } from '../../net/proxy.js';
import type { RetryPolicy } from '../../net/retry.js';

export interface HubTimeouts {
  connectMs: number;
  /** from the request to the first byte of the answer */
  headersMs: number;
  /** longest silence within an answer's body */
  bodyMs: number;
}

export interface HubSettings {
  /** base URL of the Hub, without a slash at the end */
  endpoint: string;
  /** sent only to the endpoint's origin; never part of a message */
  token: string | undefined;
  /** use only what is in the cache */
  offline: boolean;
  /** absolute; holds models--org--name and datasets--org--name */
  cacheDir: string;
  proxy: ProxySettings;
  retry: RetryPolicy;
  timeouts: HubTimeouts;
}

const DEFAULT_ENDPOINT = 'https://huggingface.co';
const TRUE_WORDS = new Set(['1', 'ON', 'YES', 'TRUE']); // as huggingface_hub reads its switches
const RETRY: RetryPolicy = { attempts: 5, baseDelayMs: 500, maxDelayMs: 8_000, longestWaitMs: 120_000 };
const TIMEOUTS: HubTimeouts = { connectMs: 15_000, headersMs: 60_000, bodyMs: 60_000 };

/** Settings from the environment (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, *_PROXY). @throws USAGE on a bad value */
export function hubSettings(cacheDir: string, env: NodeJS.ProcessEnv = process.env): HubSettings {
  return {
    endpoint: readEndpoint(env['HF_ENDPOINT']),
    token: readToken(env['HF_TOKEN']),
    offline: TRUE_WORDS.has((env['HF_HUB_OFFLINE'] ?? '').toUpperCase()),
    cacheDir: cacheFolder(cacheDir),
    proxy: proxySettings(env),
    retry: RETRY,
    timeouts: readTimeouts(env['HF_HUB_DOWNLOAD_TIMEOUT']),
  };
}

/** The absolute folder that cache_dir names. */
export function cacheFolder(cacheDir: string): string {
  return resolve(expandHome(cacheDir));
}

/** The cache folder that HF_HUB_CACHE or HF_HOME names, as huggingface_hub reads them; undefined where neither is set. */
export function cacheFromEnvironment(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const cache = first(env, 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE');
  if (cache) return expandHome(cache);
  return env['HF_HOME'] ? join(expandHome(env['HF_HOME']), 'hub') : undefined;
}

function first(env: NodeJS.ProcessEnv, ...names: string[]): string {
  return names.map((name) => env[name]).find((value) => value) ?? '';
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

function readEndpoint(value: string | undefined): string {
  const text = (value ?? '').trim() || DEFAULT_ENDPOINT;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.username || url.password) {
    throw new FltacError(
      'USAGE',
      'HF_ENDPOINT must be an http(s) address without user name and password, such as ' +
        `${DEFAULT_ENDPOINT}; what it holds is not`,
    );
  }
  return text.replace(/\/+$/, '');
}

/** HF_HUB_DOWNLOAD_TIMEOUT: seconds that a server may be silent, as huggingface_hub has it. */
function readTimeouts(value: string | undefined): HubTimeouts {
  const text = (value ?? '').trim();
  if (text === '') return TIMEOUTS;
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 3_600)) {
    throw new FltacError('USAGE', `HF_HUB_DOWNLOAD_TIMEOUT must be seconds, above 0 and at most 3600, not ${text}`);
  }
  const ms = Math.ceil(seconds * 1000);
  return { ...TIMEOUTS, headersMs: ms, bodyMs: ms };
}

function readToken(value: string | undefined): string | undefined {
  const token = (value ?? '').trim();
  if (token === '') return undefined;
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new FltacError('USAGE', 'HF_TOKEN holds characters that no token has (spaces or non-ASCII): set it again');
  }
  return token;
}
