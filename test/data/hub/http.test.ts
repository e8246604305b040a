import { createServer } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { HubRepo } from '../../../src/data/hub/names.js';
import type { HubSettings } from '../../../src/data/hub/settings.js';
import { withSnapshot } from '../../../src/data/hub/snapshot.js';
import type { HubFault, HubServer } from '../../support/hub-server.js';
import { IMPATIENT, hubOf, keptLog, listenOn, settingsFor, type KeptLog } from '../../support/hub.js';

const MODEL: HubRepo = { type: 'model', id: 'made-up/model' };
const TOKEN = 'secret-of-a-mirror_123';
const FILES = { 'models/made-up/model/config.json': '{}', 'models/made-up/model/model.safetensors': 'weights' };

async function fetchAll(settings: HubSettings, options: { repo?: HubRepo; revision?: string; log?: KeptLog } = {}) {
  const context = { log: options.log ?? keptLog() };
  await withSnapshot(options.repo ?? MODEL, options.revision ?? 'main', settings, context, async (snapshot) => {
    await snapshot.fetch(await snapshot.list());
  });
}

/** The message of the NETWORK error that fetching ends with. */
async function failureOf(settings: HubSettings, options: Parameters<typeof fetchAll>[1] = {}): Promise<string> {
  const error: unknown = await fetchAll(settings, options).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: 'FltacError', code: 'NETWORK' });
  const { message } = error as Error;
  expect(message).not.toContain('\n');
  expect(message).not.toContain(TOKEN);
  return message;
}

function authorizations(server: HubServer, where: 'hub' | 'cdn') {
  return server.requests
    .filter((request) => request.where === where)
    .map((request) => request.headers['authorization']);
}

describe('the token', () => {
  it('goes with every request to the endpoint and never across a redirect to another host', async () => {
    const server = await hubOf(FILES, { cdn: true, token: TOKEN });
    const log = keptLog();
    await fetchAll(settingsFor(server, { HF_TOKEN: TOKEN }), { log });
    expect(new Set(authorizations(server, 'hub'))).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(authorizations(server, 'cdn')).toEqual([undefined]);
    expect(JSON.stringify(log.lines)).not.toContain(TOKEN);
  });

  it("does not follow a listing's next page to another host", async () => {
    const server = await hubOf(FILES, { pageSize: 1 });
    const other = await hubOf(FILES, { pageSize: 1 });
    server.faults.push({ match: /\/tree\//, linkTo: other.url });
    await fetchAll(settingsFor(server, { HF_TOKEN: TOKEN }));
    expect(other.requests).toHaveLength(1);
    expect(authorizations(other, 'hub')).toEqual([undefined]);
  });

  it('is not sent where none is set', async () => {
    const server = await hubOf(FILES);
    await fetchAll(settingsFor(server));
    expect(new Set(authorizations(server, 'hub'))).toEqual(new Set([undefined]));
  });
});

describe('a failing answer is put into one line that names the nearest cause', () => {
  it('no such repository, without a token: 401', async () => {
    const settings = settingsFor(await hubOf(FILES));
    expect(await failureOf(settings, { repo: { type: 'dataset', id: 'made-up/absent' } })).toBe(
      `${settings.endpoint} has no public dataset made-up/absent (401): check the name, or set HF_TOKEN if it is private`,
    );
  });

  it('no such repository, with a token: 404', async () => {
    const settings = settingsFor(await hubOf(FILES), { HF_TOKEN: TOKEN });
    expect(await failureOf(settings, { repo: { type: 'model', id: 'made-up/absent' } })).toMatch(
      /has no public model made-up\/absent \(404\): check the name/,
    );
  });

  it('a token that is not valid: 401', async () => {
    const settings = settingsFor(await hubOf(FILES, { token: 'another' }), { HF_TOKEN: TOKEN });
    expect(await failureOf(settings)).toMatch(/refuses the HF_TOKEN given \(401\) for model made-up\/model/);
  });

  it.each([
    ['without a token', {}, 401, /set HF_TOKEN to a token of that account; it says: Access to model/],
    ['with a token that may not', { HF_TOKEN: TOKEN }, 403, /\(the one given is not enough\)/],
  ])('a gated model, %s', async (_, env, status, advice) => {
    const settings = settingsFor(await hubOf(FILES, { gated: { 'models/made-up/model': 'the right one' } }), env);
    const message = await failureOf(settings);
    const page = `${settings.endpoint}/made-up/model`;
    expect(message).toContain(
      `model made-up/model is gated (${status}): accept its licence at ${page}, then set HF_TOKEN`,
    );
    expect(message).toMatch(advice);
  });

  it('a gated model opens to the right token', async () => {
    const server = await hubOf(FILES, { gated: { 'models/made-up/model': TOKEN } });
    await fetchAll(settingsFor(server, { HF_TOKEN: TOKEN }));
  });

  it('no such revision: 404', async () => {
    const settings = settingsFor(await hubOf(FILES));
    expect(await failureOf(settings, { revision: 'v9' })).toBe(
      'model made-up/model has no revision "v9" (404): check the branch, tag or commit',
    );
  });

  it('no such folder: 404', async () => {
    const settings = settingsFor(await hubOf(FILES));
    const listing = withSnapshot(MODEL, 'main', settings, { log: keptLog() }, (snapshot) => snapshot.list('absent'));
    await expect(listing).rejects.toThrow('model made-up/model has no absent at revision main (404)');
  });

  it('an endpoint that is no Hub', async () => {
    const page = createServer((_, response) => response.end('<html>hello</html>'));
    const settings = settingsFor({ url: await listenOn(page) } as HubServer);
    expect(await failureOf(settings)).toMatch(/does not answer as a Hub for model made-up\/model: check HF_ENDPOINT/);
  });

  it.each(['path', 'size', 'oid'])('a listing whose %s lies 20,000 arrays deep', async (key) => {
    const entry = { type: 'file', path: 'x', size: 4, oid: 'a'.repeat(40), [key]: 0 };
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    const listing = JSON.stringify([entry]).replace(`"${key}":0`, `"${key}":${deep}`);
    const page = createServer(({ url = '' }, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(url.includes('/tree/') ? listing : JSON.stringify({ _id: '1', id: MODEL.id, sha: 'c'.repeat(40) }));
    });
    const settings = settingsFor({ url: await listenOn(page) } as HubServer);
    expect(await failureOf(settings)).toMatch(/an array|does not answer as a Hub/);
  });

  it('redirects without end, and to something that is no web address', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    server.faults.push({ status: 302, headers: { location: '/api/models/made-up/model/revision/main' }, times: 50 });
    expect(await failureOf(settings)).toMatch(/redirects without end/);
    server.reset();
    server.faults.push({ status: 302, headers: { location: 'file:///etc/passwd' } });
    expect(await failureOf(settings)).toMatch(/redirects model made-up\/model to something that is not a web address/);
  });

  it('a description without end', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ json: { padding: 'x'.repeat(33 * 1024 * 1024) } });
    expect(await failureOf(settingsFor(server))).toMatch(/gives an answer for model made-up\/model that does not end/);
  });

  it('a listing without end', async () => {
    const server = await hubOf(FILES, { pageSize: 0.001 });
    expect(await failureOf(settingsFor(server))).toMatch(/lists more than 100000 files or 1000 pages of model made-up/);
  });

  it('nobody listens', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    await server.close();
    expect(await failureOf(settings)).toMatch(
      /cannot be reached for model made-up\/model \(.*ECONNREFUSED.*\): check the network/,
    );
  });

  it('nobody answers', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ delayMs: 60_000, times: 9 });
    const settings = {
      ...settingsFor(server),
      timeouts: IMPATIENT,
      retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1, longestWaitMs: 1 },
    };
    expect(await failureOf(settings)).toMatch(/cannot be reached .*UND_ERR_HEADERS_TIMEOUT/);
  });
});

describe('a passing failure', () => {
  const passing: [string, HubFault][] = [
    ['429', { status: 429 }],
    ['500', { status: 500 }],
    ['503', { status: 503 }],
    ['a reset connection', { reset: true }],
  ];
  it.each(passing)('is tried again and announced: %s', async (_, fault) => {
    const server = await hubOf(FILES);
    server.faults.push({ ...fault, times: 2 }, { ...fault, match: /\/resolve\//, times: 2 });
    const log = keptLog();
    await fetchAll(settingsFor(server), { log });
    expect(log.lines.filter((line) => /^warn: .*; trying again in 0\.0 s \(try [23] of 3\)$/.test(line))).toHaveLength(
      4,
    );
  });

  it.each([
    [429, /asks for fewer requests \(429\) for model made-up\/model: wait a while, or set HF_TOKEN/],
    [503, /fails to answer \(503\) for model made-up\/model: try again later/],
  ])('ends after a few tries: %s', async (status, message) => {
    const server = await hubOf(FILES);
    server.faults.push({ status, times: 99 });
    expect(await failureOf(settingsFor(server))).toMatch(message);
    expect(server.requests).toHaveLength(3);
  });

  it.each([400, 404, 403])('is not seen in %s', async (status) => {
    const server = await hubOf(FILES);
    server.faults.push({ status, times: 99 });
    await failureOf(settingsFor(server));
    expect(server.requests).toHaveLength(1);
  });

  it('waits as long as Retry-After says', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ status: 429, headers: { 'retry-after': '1' } });
    const started = Date.now();
    await fetchAll(settingsFor(server));
    expect(Date.now() - started).toBeGreaterThanOrEqual(990);
  });

  it('gives up where Retry-After asks for too long', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ status: 429, headers: { 'retry-after': '3600' } });
    expect(await failureOf(settingsFor(server))).toMatch(/asks for fewer requests/);
    expect(server.requests).toHaveLength(1);
  });

  it('stops waiting when it is aborted', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ status: 429, headers: { 'retry-after': '4' } });
    const stop = new AbortController();
    const context = { log: keptLog(), signal: stop.signal };
    const running = withSnapshot(MODEL, 'main', settingsFor(server), context, (snapshot) => snapshot.list());
    await expect.poll(() => context.log.lines.length).toBe(1);
    const started = Date.now();
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(Date.now() - started).toBeLessThan(2_000);
  });
});

describe('a proxy', () => {
  it('is used where HTTP_PROXY says so, but not for hosts of NO_PROXY', async () => {
    const server = await hubOf(FILES);
    const proxy = await startProxy();
    await fetchAll(settingsFor(server, { HTTP_PROXY: proxy.url }));
    expect(proxy.targets).toContain(new URL(server.url).host);
    proxy.targets.length = 0;
    await fetchAll(settingsFor(server, { HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.1' }));
    expect(proxy.targets).toEqual([]);
  });
});

/** A proxy that tunnels (CONNECT) and notes where to. */
async function startProxy(): Promise<{ url: string; targets: string[] }> {
  const targets: string[] = [];
  const server = createServer();
  server.on('connect', (request, client) => {
    const target = request.url ?? '';
    targets.push(target);
    const [host, port] = target.split(':');
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
    client.on('close', () => upstream.destroy());
  });
  return { url: await listenOn(server), targets };
}
