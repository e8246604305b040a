/** Exported folders to repositories on the Hugging Face Hub, through @huggingface/hub. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { HubApiError, createRepo, uploadFiles } from '@huggingface/hub';
import { fetch as undiciFetch, type Dispatcher, type RequestInit } from 'undici';
import { makeDispatcher } from '../data/hub/http.js';
import { isRepoId } from '../data/hub/names.js';
import { hubSettings, type HubSettings } from '../data/hub/settings.js';
import { FltacError, messageOf } from '../errors.js';
import type { Log } from '../run/log.js';
import type { Exported } from './export.js';

/** Where exported folders go. */
export interface PushTarget {
  /** org/name */
  repo: string;
  visibility: 'public' | 'private';
  settings: HubSettings & { token: string };
}

/**
 * Checks a target before any work.
 *
 * @throws FltacError USAGE for a name that no repository has, without HF_TOKEN, or with HF_HUB_OFFLINE
 */
export function pushTarget(repo: string, env: NodeJS.ProcessEnv, isPublic: boolean): PushTarget {
  const settings = hubSettings('.', env);
  const { token } = settings;
  const faults = [
    ...(isRepoId(repo) && repo.includes('/') ? [] : [`--push: expected a repository as org/name, found "${repo}"`]),
    ...(token === undefined ? ['--push needs HF_TOKEN, a token with write access'] : []),
    ...(settings.offline ? ['--push cannot work with HF_HUB_OFFLINE set'] : []),
  ];
  if (faults.length > 0 || token === undefined) throw new FltacError('USAGE', faults.join('; '));
  return { repo, visibility: isPublic ? 'public' : 'private', settings: { ...settings, token } };
}

/**
 * Pushes what each export wrote, and nothing else of its folder, to a repository of its own, made where it is not there;
 * each in one commit.
 *
 * @returns the repositories' addresses
 * @throws FltacError NETWORK with what the Hub answered; ABORTED
 */
export async function pushExported(
  exported: readonly Exported[],
  target: PushTarget,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<string[]> {
  const dispatcher = makeDispatcher(target.settings);
  try {
    const pushed: string[] = [];
    for (const one of exported) {
      const repo = exported.length === 1 ? target.repo : `${target.repo}-${one.name}`;
      log.info(`pushing ${one.name} to ${repo}`);
      await pushFolder(repo, one, target, { dispatcher, signal });
      pushed.push(`${target.settings.endpoint}/${repo}`);
    }
    return pushed;
  } finally {
    await dispatcher.destroy();
  }
}

async function pushFolder(
  repo: string,
  { name, folder, files: names }: Exported,
  { visibility, settings }: PushTarget,
  { dispatcher, signal }: { dispatcher: Dispatcher; signal: AbortSignal },
): Promise<void> {
  const common = {
    repo: { type: 'model' as const, name: repo },
    hubUrl: settings.endpoint,
    fetch: authorisedFetch(settings, dispatcher, signal),
  };
  try {
    // The library asks for some token; the fetch above sends the real one, to the endpoint alone.
    await createRepo({ ...common, visibility, accessToken: PLACEHOLDER }).catch((error: unknown) => {
      if (!(error instanceof HubApiError) || error.statusCode !== 409) throw error;
    });
    const files = names.map((file) => ({ path: file, content: pathToFileURL(path.join(folder, file)) }));
    await uploadFiles({ ...common, files, commitTitle: `Add ${name} by fltac`, useXet: false, abortSignal: signal });
  } catch (error) {
    if (signal.aborted) throw new FltacError('ABORTED', `stopped while pushing to ${repo}`, { cause: error });
    const status = error instanceof HubApiError ? ` (${error.statusCode})` : '';
    const hint = status === ' (401)' || status === ' (403)' ? ': HF_TOKEN needs write access to it' : '';
    throw new FltacError('NETWORK', `${repo} cannot be pushed to${status}: ${messageOf(error)}${hint}`, {
      cause: error,
    });
  }
}

const PLACEHOLDER = 'hf_sent_by_fetch';

/** A fetch that gives the token to the endpoint's origin only, whatever addresses the Hub names for uploads. */
function authorisedFetch(
  { endpoint, token }: PushTarget['settings'],
  dispatcher: Dispatcher,
  signal: AbortSignal,
): typeof fetch {
  const { origin } = new URL(endpoint);
  const call = async (input: string | URL | Request, init: globalThis.RequestInit = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init.headers);
    headers.delete('authorization');
    if (url.origin === origin) headers.set('authorization', `Bearer ${token}`);
    const request = { ...init, headers, dispatcher, signal, redirect: 'error' } as unknown as RequestInit;
    return (await undiciFetch(url, request)) as unknown as Response;
  };
  return call;
}
