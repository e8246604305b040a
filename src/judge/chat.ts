/**
 * One chat request to an OpenAI-compatible endpoint. By hand over fetch: the key must reach only the endpoint's origin
 * (no redirects), and each failure is told in words that say what to do.
 */
import { EnvHttpProxyAgent, fetch as undiciFetch, type Response } from 'undici';
import { z } from 'zod';
import { FltacError } from '../errors.js';
import { makePool } from '../net/pool.js';
import {
  PASSING_CODE,
  PASSING_STATUS,
  PassingFailure,
  aborted,
  checkAborted,
  oneLine,
  retryAfterMs,
  rootCause,
  withRetries,
  type RetryContext,
} from '../net/retry.js';
import type { Message } from './prompt.js';
import { isLoopback, type JudgeEndpoint } from './settings.js';

export interface ChatRequest {
  model: string;
  messages: readonly Message[];
  temperature: number;
  seed: number;
  max_tokens: number;
}

/** The endpoint refused this very request (too long, for example); another may pass. */
export class RequestRefused extends FltacError {}

const REFUSED_STATUS = new Set([400, 413, 422]);
/** no reply of a judge is near this */
const MOST_BYTES = 1024 * 1024;
/** code that comes with 429 when waiting does not help */
const NO_CREDIT = '"insufficient_quota"';

const Reply = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1),
});

/** Close it at the end. */
export class ChatClient {
  readonly #endpoint: JudgeEndpoint;
  readonly #context: RetryContext;
  readonly #dispatcher: EnvHttpProxyAgent;

  constructor(endpoint: JudgeEndpoint, context: RetryContext) {
    const { baseUrl, proxy, timeoutMs } = endpoint;
    this.#endpoint = endpoint;
    this.#context = context;
    // What stays on this machine goes through no proxy, and neither does its key.
    const direct = isLoopback(baseUrl) ? { noProxy: '*' } : {};
    this.#dispatcher = new EnvHttpProxyAgent({
      ...proxy,
      ...direct,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      factory: makePool,
    });
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  /**
   * The text of the reply, tried again where that may help; empty where the model gave none.
   *
   * @throws RequestRefused; FltacError NETWORK, ABORTED
   */
  async ask(request: ChatRequest): Promise<string> {
    const body = JSON.stringify(request);
    return withRetries(this.#endpoint.retry, this.#context, () => this.#try(body, request.model));
  }

  async #try(body: string, model: string): Promise<string> {
    const { timeoutMs } = this.#endpoint;
    const timeout = AbortSignal.timeout(timeoutMs);
    const { signal } = this.#context;
    try {
      const answer = await this.#post(body, signal ? AbortSignal.any([signal, timeout]) : timeout);
      const text = await readLimited(answer);
      if (!answer.ok) throw this.#failure(answer, text, model);
      return this.#reply(text);
    } catch (error) {
      if (error instanceof FltacError || error instanceof PassingFailure) throw error;
      checkAborted(signal);
      if (timeout.aborted) throw this.#silence(timeoutMs);
      throw this.#disconnected(error);
    }
  }

  async #post(body: string, signal: AbortSignal): Promise<Response> {
    const { baseUrl, key } = this.#endpoint;
    return undiciFetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        'user-agent': 'fltac',
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      body,
      redirect: 'manual',
      dispatcher: this.#dispatcher,
      signal,
    });
  }

  #reply(text: string): string {
    const reply = Reply.safeParse(parsed(text));
    if (reply.success) return reply.data.choices[0]!.message.content ?? '';
    const { baseUrl } = this.#endpoint;
    const shown = this.#clean(text);
    const failure = `${baseUrl} does not answer as an OpenAI-compatible endpoint (it says: ${shown}): check OPENAI_BASE_URL`;
    throw new PassingFailure(`${this.#host()} sent no chat completion (${shown})`, new FltacError('NETWORK', failure));
  }

  /** The error for an answer with a failing status. */
  #failure(answer: Response, text: string, model: string): Error {
    const { status } = answer;
    const said = this.#clean(messageIn(text));
    const { baseUrl, key } = this.#endpoint;
    const message = statusMessage({ status, said, model, baseUrl, hasKey: key !== undefined });
    if (REFUSED_STATUS.has(status)) return new RequestRefused('NETWORK', message);
    const failure = new FltacError('NETWORK', message);
    const passes = PASSING_STATUS.has(status) || status > 501;
    if (!passes || (status === 429 && text.includes(NO_CREDIT))) return failure;
    const wait = retryAfterMs(answer.headers.get('retry-after'));
    return new PassingFailure(`${this.#host()} answered ${status}${said && ` (${said})`}`, failure, wait);
  }

  #silence(timeoutMs: number): PassingFailure {
    const what = `${this.#host()} gave no whole answer within ${timeoutMs / 1000} s`;
    const failure = new FltacError(
      'NETWORK',
      `${what}, in every try: give it longer with --timeout, or try again later`,
    );
    return new PassingFailure(what, failure);
  }

  #disconnected(error: unknown): Error {
    if (error instanceof DOMException && error.name === 'AbortError') return aborted();
    const { code, text } = rootCause(error);
    const reason = this.#clean(text);
    const failure = new FltacError(
      'NETWORK',
      `${this.#host()} cannot be reached (${reason}): check OPENAI_BASE_URL, the network and the proxy, where there is one`,
      { cause: error },
    );
    return PASSING_CODE.has(code)
      ? new PassingFailure(`the connection to ${this.#host()} failed (${reason})`, failure)
      : failure;
  }

  #host(): string {
    return new URL(this.#endpoint.baseUrl).host;
  }

  /** A text from outside for a message: one line, and without the key, which some servers repeat. */
  #clean(text: string): string {
    const { key } = this.#endpoint;
    return oneLine(key === undefined ? text : text.replaceAll(key, '***'));
  }
}

interface StatusFacts {
  status: number;
  said: string;
  model: string;
  hasKey: boolean;
  baseUrl: string;
}

function statusMessage({ status, said, model, hasKey, baseUrl }: StatusFacts): string {
  const words = said ? `; it says: ${said}` : '';
  const advice: Readonly<Record<number, string>> = {
    400: `${baseUrl} refuses the request (400)`,
    401: hasKey
      ? `${baseUrl} refuses the OPENAI_API_KEY given (401): set a valid one`
      : `${baseUrl} wants an API key (401): set OPENAI_API_KEY`,
    402: `${baseUrl} wants to be paid (402): see to the account's credit`,
    403: `${baseUrl} forbids the request (403): use a key whose account may use model ${model}`,
    404: `${baseUrl} has no chat completions or no model ${model} (404): check OPENAI_BASE_URL, which often ends in /v1, and --model`,
    413: `${baseUrl} finds the request too long (413)`,
    422: `${baseUrl} refuses the request (422)`,
    429: `${baseUrl} asks for fewer requests (429): wait, lower --concurrency, or see to the account's limits`,
  };
  const redirect = `${baseUrl} redirects (${status}), which is not followed, since the key must not go elsewhere: set OPENAI_BASE_URL to the final address`;
  if (status >= 300 && status < 400) return redirect;
  return `${advice[status] ?? `${baseUrl} fails to answer (${status}): try again later`}${words}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The `error.message` of a JSON answer, or of the forms that other servers give it; nothing of web pages. */
function messageIn(text: string): string {
  const Failure = z.object({
    error: z.union([z.string(), z.object({ message: z.string() })]).optional(),
    message: z.string().optional(),
    detail: z.string().optional(),
  });
  const found = Failure.safeParse(parsed(text));
  if (!found.success) return '';
  const { error, message, detail } = found.data;
  return (typeof error === 'object' ? error.message : error) ?? message ?? detail ?? '';
}

async function readLimited(answer: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = answer.body;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > MOST_BYTES) break;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
