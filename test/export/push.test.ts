import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pushExported, pushTarget } from '../../src/export/push.js';
import { silentLog } from '../../src/run/log.js';
import { temporaryFolder } from '../support/files.js';

interface Received {
  method: string;
  url: string;
  authorization: string | undefined;
  body: Buffer;
}

/** A Hub that takes commits as the real one does, large files by way of another server; both note what they get. */
class PushServer {
  readonly requests: Received[] = [];
  readonly stored: Received[] = [];
  /** answer of the next request for a new repository */
  createStatus = 200;
  #hub: Server | undefined;
  #storage: Server | undefined;

  async start(): Promise<void> {
    this.#storage = await listen(async (request) => {
      this.stored.push(await receive(request));
      return { status: 200, body: {} };
    });
    this.#hub = await listen(async (request) => {
      const received = await receive(request);
      this.requests.push(received);
      return this.#answer(received);
    });
  }

  get url(): string {
    return addressOf(this.#hub!);
  }

  stop(): void {
    this.#hub?.close();
    this.#storage?.close();
  }

  #answer({ url, body }: Received): { status: number; body: object } {
    if (url === '/api/repos/create')
      return { status: this.createStatus, body: { url: `${this.url}/me/x`, error: 'no' } };
    if (url.includes('/preupload/')) {
      const { files } = JSON.parse(body.toString()) as { files: { path: string }[] };
      const mode = (path: string) => (path.endsWith('.safetensors') ? 'lfs' : 'regular');
      return { status: 200, body: { files: files.map(({ path }) => ({ path, uploadMode: mode(path) })) } };
    }
    if (url.endsWith('/objects/batch')) {
      const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] };
      const href = `${addressOf(this.#storage!)}/upload`;
      return {
        status: 200,
        body: { objects: objects.map((object) => ({ ...object, actions: { upload: { href } } })), transfer: 'basic' },
      };
    }
    return { status: 200, body: { commitOid: 'a'.repeat(40), commitUrl: 'x', hookOutput: '' } };
  }
}

async function receive(request: IncomingMessage): Promise<Received> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const { method = '', url = '' } = request;
  return { method, url, authorization: request.headers.authorization, body: Buffer.concat(parts) };
}

async function listen(
  handle: (request: IncomingMessage) => Promise<{ status: number; body: object }>,
): Promise<Server> {
  const server = createServer((request, response) => {
    void handle(request).then(({ status, body }) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const TOKEN = 'token-of-a-mirror';
let server: PushServer;
beforeEach(async () => {
  server = new PushServer();
  await server.start();
});
afterEach(() => server.stop());

const EXPORTED = ['adapter_model.safetensors', 'README.md'];

function exportedFolder(): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'README.md'), '# a');
  writeFileSync(join(folder, 'adapter_model.safetensors'), Buffer.alloc(1000, 7));
  // What is not of the export: the folder may be the user's own.
  writeFileSync(join(folder, 'private-notes.txt'), 'not for others');
  mkdirSync(join(folder, 'checkpoints'));
  return folder;
}

async function push(names: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const target = pushTarget('me/x', { HF_ENDPOINT: server.url, HF_TOKEN: TOKEN, ...env }, false);
  const exported = names.map((name) => ({ name, cluster: 0, folder: exportedFolder(), files: EXPORTED }));
  return pushExported(exported, target, { log: silentLog(), signal: new AbortController().signal });
}

describe('pushing an export', () => {
  it('makes a private repository and commits all files at once, large ones by way of the storage', async () => {
    expect(await push(['sst2'])).toEqual([`${server.url}/me/x`]);
    const [create] = server.requests;
    expect(JSON.parse(create!.body.toString())).toMatchObject({ name: 'x', organization: 'me', visibility: 'private' });
    const commits = server.requests.filter(({ url }) => url.includes('/commit/'));
    expect(commits).toHaveLength(1);
    expect(commits[0]!.body.toString()).toContain('README.md');
    expect(server.stored.map(({ body }) => body.length)).toEqual([1000]);
  });

  it('leaves what else lies in the folder where it is', async () => {
    await push(['sst2']);
    expect(server.requests.map(({ body }) => body.toString()).join()).not.toMatch(/private-notes|checkpoints/);
    expect(server.stored).toHaveLength(1);
  });

  it('gives each of several adapters a repository of its own', async () => {
    expect(await push(['sst2', 'rte'])).toEqual([`${server.url}/me/x-sst2`, `${server.url}/me/x-rte`]);
  });

  it('gives the token to the endpoint and to nobody else', async () => {
    await push(['sst2']);
    expect(new Set(server.requests.map(({ authorization }) => authorization))).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(server.stored.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it('goes on where the repository is there, and tells what the Hub refuses', async () => {
    server.createStatus = 409;
    await push(['sst2']);
    server.createStatus = 403;
    await expect(push(['sst2'])).rejects.toMatchObject({
      code: 'NETWORK',
      message: /me\/x cannot .*403.*HF_TOKEN needs/,
    });
  });

  it('is refused before any work for a bad name, without a token, and offline', () => {
    const refuse = (repo: string, env: NodeJS.ProcessEnv) => () => pushTarget(repo, env, false);
    expect(refuse('x', {})).toThrow(/--push: expected a repository as org\/name, found "x"; --push needs HF_TOKEN/);
    expect(refuse('me/x', { HF_TOKEN: TOKEN, HF_HUB_OFFLINE: '1' })).toThrow(/cannot work with HF_HUB_OFFLINE/);
  });
});
