/** Turns what goes wrong between fltac and the Hub into one-line errors that name the nearest cause. */
import { FltacError } from '../../errors.js';
import { PASSING_CODE, PASSING_STATUS, PassingFailure, oneLine, retryAfterMs, rootCause } from '../../net/retry.js';
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
  const reason = oneLine(text);
  const advice = `check the network${settings.proxy.httpsProxy || settings.proxy.httpProxy ? ' and the proxy set' : ' (HTTPS_PROXY, if there is a proxy)'}, or set HF_HUB_OFFLINE=1 to use only the cache`;
  const failure = new HubUnreachable(
    'NETWORK',
    `${host} cannot be reached for ${titleOf(subject)} (${reason}): ${advice}`,
    {
      cause: error,
    },
  );
  if (!PASSING_CODE.has(code)) return failure;
  return new PassingFailure(`the connection to ${host} failed for ${titleOf(subject)} (${reason})`, failure);
}

/** "file a/b of dataset org/name" or "dataset org/name". */
export function titleOf(subject: Subject): string {
  return subject.path ? `${subject.path} of ${repoTitle(subject.repo)}` : repoTitle(subject.repo);
}
