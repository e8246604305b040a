/** Asks the Hub one thing: whether it answers from here, and whether it takes the token. */
import { fetch } from 'undici';
import { makeDispatcher } from '../data/hub/http.js';
import { hubSettings, type HubSettings } from '../data/hub/settings.js';
import { oneLine, rootCause } from '../net/retry.js';

/** What came of asking. */
export type HubAnswer =
  { state: 'answered'; status: number; ms: number; tokenSent: boolean } | { state: 'unreachable'; reason: string };

/** A machine that cannot reach the Hub says so within this. */
const PATIENCE_MS = 10_000;

/** Where an account's token is checked; without one it is the cheapest answer there is. */
const ACCOUNT = '/api/whoami-v2';

/** One request to the endpoint's own host; the token goes nowhere else, since redirects are not followed. */
export async function askHub(env: NodeJS.ProcessEnv, cacheDir: string): Promise<HubAnswer> {
  const settings = hubSettings(cacheDir, env);
  const dispatcher = makeDispatcher(hurried(settings));
  const began = performance.now();
  try {
    const answer = await fetch(`${settings.endpoint}${ACCOUNT}`, {
      dispatcher,
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: { 'user-agent': 'fltac', ...(settings.token && { authorization: `Bearer ${settings.token}` }) },
    });
    await answer.body?.cancel();
    const ms = Math.round(performance.now() - began);
    return { state: 'answered', status: answer.status, ms, tokenSent: settings.token !== undefined };
  } catch (error) {
    return { state: 'unreachable', reason: oneLine(rootCause(error).text) };
  } finally {
    await dispatcher.destroy();
  }
}

function hurried(settings: HubSettings): HubSettings {
  return { ...settings, timeouts: { connectMs: PATIENCE_MS, headersMs: PATIENCE_MS, bodyMs: PATIENCE_MS } };
}
