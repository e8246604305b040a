/**
 * HTTP towards the Hub. @huggingface/hub builds the API requests and reads their answers, but leaves to its `fetch`
 * parameter what matters on a bad day; this is that fetch. It follows redirects by hand, since the token must reach
 * only the endpoint's origin (the library also sends it to whatever page its listing's Link header names), and adds
 * proxies, timeouts, retries and errors in words. The token never goes through the library, which refuses any that
 * does not begin with "hf_" although mirrors issue others.
 */
import { EnvHttpProxyAgent, fetch as undiciFetch, Response, type RequestInit } from 'undici';
import { FltacError } from '../../errors.js';
import { makePool } from '../../net/pool.js';
import { aborted, checkAborted, withRetries, type RetryContext } from '../../net/retry.js';
import { connectionFailure, statusFailure, titleOf, type Subject } from './failures.js';
import type { HubSettings } from './settings.js';

const MAX_REDIRECTS = 10;
/** A page of a listing takes half a megabyte, a description of the largest repositories some. */
const MOST_ANSWER_BYTES = 32 * 1024 * 1024;
/** Of an answer that says what went wrong. */
const MOST_FAILURE_BYTES = 64 * 1024;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);

export class HubHttp {
  private readonly origin: string;

  constructor(
    readonly settings: HubSettings,
    readonly context: RetryContext,
    private readonly dispatcher = makeDispatcher(settings),
  ) {
    this.origin = new URL(settings.endpoint).origin;
  }

  /** The same connections, stopped by `signal` as well. */
  withSignal(signal: AbortSignal): HubHttp {
    const both = this.context.signal ? AbortSignal.any([this.context.signal, signal]) : signal;
    return new HubHttp(this.settings, { ...this.context, signal: both }, this.dispatcher);
  }

  /** Closes the kept-alive connections. */
  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }

  /**
   * A fetch for @huggingface/hub's API calls about `subject`: tries again where that may help, answers only with
   * success, and hands over bodies that have arrived whole.
   */
  apiFetch(subject: Subject): typeof fetch {
    const call = async (input: string | URL | Request): Promise<Response> => {
      const url = input instanceof Request ? input.url : String(input);
      return withRetries(this.settings.retry, this.context, async () => {
        const answer = await this.request(url, { accept: 'application/json' }, subject);
        const body = await this.readText(answer, MOST_ANSWER_BYTES).catch((error: unknown) =>
          this.rethrow(error, subject, url),
        );
        if (body === undefined) throw endless(this.origin, subject);
        return new Response(body, { status: answer.status, headers: answer.headers });
      });
    };
    return call;
  }

  /**
   * One GET, redirects followed; the answer has a success status or one of `alsoGood`. @throws PassingFailure where
   * trying again may help, NETWORK otherwise, ABORTED
   */
  async request(
    url: string,
    headers: Record<string, string>,
    subject: Subject,
    alsoGood: readonly number[] = [],
  ): Promise<Response> {
    let target = new URL(url);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const answer = await this.send(target, headers, subject);
      const location = answer.headers.get('location');
      if (!REDIRECT_STATUS.has(answer.status) || location === null) {
        if (answer.ok || alsoGood.includes(answer.status)) return answer;
        throw statusFailure(await this.readFailure(answer), subject, this.settings);
      }
      await answer.body?.cancel();
      target = redirectTarget(location, target, subject);
    }
    throw new FltacError('NETWORK', `${this.origin} redirects without end for ${titleOf(subject)}: check HF_ENDPOINT`);
  }

  /** Throws what a failure of the connection (before or within an answer) means. */
  rethrow(error: unknown, subject: Subject, url: string): never {
    checkAborted(this.context.signal);
    if (error instanceof DOMException && error.name === 'AbortError') throw aborted();
    throw connectionFailure(error, subject, this.settings, new URL(url).host);
  }

  /** The text of an answer; undefined where it is longer, or takes longer, than any answer of a Hub. */
  private async readText(answer: Response, most: number): Promise<string | undefined> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    // Silence has its own limit (bodyTimeout); this one is for a server that sends a byte now and then.
    const end = Date.now() + 2 * this.settings.timeouts.bodyMs;
    for await (const piece of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
      size += piece.length;
      if (size > most || Date.now() > end) return undefined;
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  private async readFailure(answer: Response): Promise<Parameters<typeof statusFailure>[0]> {
    const said = answer.headers.get('x-error-message');
    const message = said ?? (await this.readText(answer, MOST_FAILURE_BYTES).then(errorText, () => ''));
    if (said !== null) await answer.body?.cancel();
    return {
      status: answer.status,
      code: answer.headers.get('x-error-code') ?? '',
      message,
      retryAfter: answer.headers.get('retry-after'),
    };
  }

  private async send(target: URL, headers: Record<string, string>, subject: Subject): Promise<Response> {
    const { token } = this.settings;
    const mayKnowToken = token !== undefined && target.origin === this.origin;
    const init: RequestInit = {
      headers: { 'user-agent': 'fltac', ...headers, ...(mayKnowToken && { authorization: `Bearer ${token}` }) },
      redirect: 'manual',
      dispatcher: this.dispatcher,
      ...(this.context.signal && { signal: this.context.signal }),
    };
    return undiciFetch(target, init).catch((error: unknown) => this.rethrow(error, subject, target.href));
  }
}

/** Connections through the proxies and within the timeouts that the settings name. Destroy it at the end. */
export function makeDispatcher({ proxy, timeouts }: HubSettings): EnvHttpProxyAgent {
  return new EnvHttpProxyAgent({
    ...proxy,
    connect: { timeout: timeouts.connectMs },
    headersTimeout: timeouts.headersMs,
    bodyTimeout: timeouts.bodyMs,
    factory: makePool,
  });
}

function redirectTarget(location: string, from: URL, subject: Subject): URL {
  const target = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (target && ['http:', 'https:'].includes(target.protocol)) return target;
  throw new FltacError('NETWORK', `${from.host} redirects ${titleOf(subject)} to something that is not a web address`);
}

function endless(origin: string, subject: Subject): FltacError {
  return new FltacError(
    'NETWORK',
    `${origin} gives an answer for ${titleOf(subject)} that does not end (in ${MOST_ANSWER_BYTES} bytes, or in time): ` +
      'check HF_ENDPOINT',
  );
}

/** The `error` field of a JSON answer; nothing of other pages, which are HTML as a rule. */
function errorText(body = ''): string {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && 'error' in value ? String(value.error) : '';
  } catch {
    return '';
  }
}
