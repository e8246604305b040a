/** Turns what goes wrong between fltac and the Hub into one-line errors that name the nearest cause. */
import { FltacError } from '../../errors.js';
import { repoTitle, type HubRepo } from './names.js';
import type { HubSettings } from './settings.js';

/** What a request was about. */
export interface Subject {
  repo: HubRepo;
  revision: string;
  /** file or folder inside the repository */
  path?: string;
}

/** The Hub cannot be reached at all: the one failure in which a copy in the cache may stand in. */
export class HubUnreachable extends FltacError {}

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

const PASSING_STATUS = new Set([408, 429, 500, 502, 503, 504]);
const PASSING_CODE = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** The part of an answer that tells why it failed. */
export interface FailedAnswer {
  status: number;
  /** X-Error-Code, e.g. "RepoNotFound" */
  code: string;
  /** X-Error-Message or the body's first line */
  message: string;
  retryAfter: string | null;
}

/** The error for an answer with a failing status: a PassingFailure where trying again may help. */
export function statusFailure(answer: FailedAnswer, subject: Subject, settings: HubSettings): Error {
  const failure = new FltacError('NETWORK', statusMessage(answer, subject, settings));
  if (!PASSING_STATUS.has(answer.status)) return failure;
  const summary = `${new URL(settings.endpoint).host} answered ${answer.status} for ${titleOf(subject)}`;
  return new PassingFailure(summary, failure, retryAfterMs(answer.retryAfter));
}

function statusMessage(answer: FailedAnswer, subject: Subject, settings: HubSettings): string {
  const { status, code } = answer;
  const { repo, revision } = subject;
  const title = repoTitle(repo);
  const { endpoint } = settings;
  const page = `${endpoint}/${repo.type === 'dataset' ? 'datasets/' : ''}${repo.id}`;
  const said = answer.message ? `; it says: ${oneLine(answer.message)}` : '';
  if (status === 403 || code === 'GatedRepo') {
    const token = settings.token
      ? 'set HF_TOKEN to a token of that account (the one given is not enough)'
      : 'set HF_TOKEN to a token of that account';
    return `${title} is gated (${status}): accept its licence at ${page}, then ${token}${said}`;
  }
  if (status === 401 && settings.token) {
    return `${endpoint} refuses the HF_TOKEN given (401) for ${title}: set a valid one, or unset it for public repositories${said}`;
  }
  if (status === 401 || code === 'RepoNotFound') {
    return `${endpoint} has no public ${title} (${status}): check the name, or set HF_TOKEN if it is private`;
  }
  if (status === 404) {
    if (code === 'RevisionNotFound')
      return `${title} has no revision "${revision}" (404): check the branch, tag or commit`;
    if (code === 'EntryNotFound') return `${title} has no ${subject.path ?? 'such file'} at revision ${revision} (404)`;
    return `${endpoint} answered 404 for ${titleOf(subject)}: check the name, and HF_ENDPOINT if it is set`;
  }
  if (status === 429)
    return `${endpoint} asks for fewer requests (429) for ${titleOf(subject)}: wait a while, or set HF_TOKEN${said}`;
  if (status >= 500) return `${endpoint} fails to answer (${status}) for ${titleOf(subject)}: try again later${said}`;
  return `${endpoint} answered ${status} for ${titleOf(subject)}${said}`;
}

/** The error for a request that got no answer: reset, refused, timed out, no such host, a certificate that is not trusted. */
export function connectionFailure(error: unknown, subject: Subject, settings: HubSettings, host: string): Error {
  const { code, text } = rootCause(error);
  const reason = code && !text.includes(code) ? `${code}: ${text}` : text;
  const advice = `check the network${settings.proxy.httpsProxy || settings.proxy.httpProxy ? ' and the proxy set' : ' (HTTPS_PROXY, if there is a proxy)'}, or set HF_HUB_OFFLINE=1 to use only the cache`;
  const failure = new HubUnreachable(
    'NETWORK',
    `${host} cannot be reached for ${titleOf(subject)} (${oneLine(reason)}): ${advice}`,
    {
      cause: error,
    },
  );
  if (!PASSING_CODE.has(code)) return failure;
  return new PassingFailure(`the connection to ${host} failed for ${titleOf(subject)} (${oneLine(reason)})`, failure);
}

/** "file a/b of dataset org/name" or "dataset org/name". */
export function titleOf(subject: Subject): string {
  return subject.path ? `${subject.path} of ${repoTitle(subject.repo)}` : repoTitle(subject.repo);
}

/** Milliseconds that a Retry-After header (seconds or a date) asks to wait. */
export function retryAfterMs(header: string | null, now = Date.now()): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

/** The innermost cause of a failed fetch: undici wraps it in "fetch failed". */
function rootCause(error: unknown): { code: string; text: string } {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  if (current instanceof AggregateError && current.errors[0] instanceof Error) current = current.errors[0];
  const code = current instanceof Error && 'code' in current ? String(current.code) : '';
  return { code, text: current instanceof Error ? current.message : String(current) };
}

/** First line of a text from outside, without control characters, cut to a readable length. */
function oneLine(text: string): string {
  const line = text.split(/[\r\n]/, 1)[0] ?? '';
  return line.replace(/\p{Cc}/gu, ' ').slice(0, 200);
}
