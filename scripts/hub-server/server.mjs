// An HTTP server that answers as the Hugging Face Hub does, from folders on disk, with faults on demand and a log of
// the requests it got. For tests and for running the real download path against local data.
import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Repositories } from './repos.mjs';

// Ids are "org/name", or "name" for the few old models without an organisation.
const API = /^\/api\/(models|datasets)\/([^/]+(?:\/[^/]+)?)\/(revision|tree)\/([^/]+)(?:\/(.*))?$/;
const RESOLVE = /^\/(datasets\/)?([^/]+(?:\/[^/]+)?)\/resolve\/([^/]+)\/(.+)$/;
const CDN = /^\/cdn\/(models|datasets)\/([^/]+)\/(.+)$/;

function sendJson(response, status, value, headers = {}) {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    ...headers,
  });
  response.end(body);
}

/** An error as the Hub words it: status, X-Error-Code, X-Error-Message. */
function sendError(response, status, code, message, headers = {}) {
  sendJson(response, status, { error: message }, { 'x-error-code': code, 'x-error-message': message, ...headers });
}

/** Start and end (exclusive) that a Range header asks of `size` bytes; null where it cannot be met. */
function parseRange(header, size) {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? '');
  if (!match) return { start: 0, end: size, partial: false };
  const start = Number(match[1]);
  const end = match[2] === '' ? size : Math.min(size, Number(match[2]) + 1);
  return start >= size ? null : { start, end, partial: true };
}

class HubServer {
  constructor(options) {
    this.options = options;
    this.repositories = new Repositories(options.roots, options.mounts ?? {});
    /** requests in the order they came */
    this.requests = [];
    /** faults, tried in order; each is used up after `times` uses */
    this.faults = [];
    this.hub = createServer((request, response) => void this.handle('hub', request, response));
    this.cdn = createServer((request, response) => void this.handle('cdn', request, response));
  }

  async listen() {
    const host = this.options.host ?? '127.0.0.1';
    const open = (server, port) =>
      new Promise((resolve, reject) =>
        server.once('error', reject).listen(port, host, () => resolve(server.address().port)),
      );
    this.url = `http://${host}:${await open(this.hub, this.options.port ?? 0)}`;
    this.cdnUrl = `http://${host}:${await open(this.cdn, 0)}`;
  }

  async close() {
    for (const server of [this.hub, this.cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Forgets the requests and the faults. */
  reset() {
    this.requests.length = 0;
    this.faults.length = 0;
  }

  /** The next fault that is meant for this request, or undefined. */
  takeFault(where, method, url) {
    const index = this.faults.findIndex(
      (fault) =>
        (fault.on ?? 'hub') === where &&
        (!fault.method || fault.method === method) &&
        (!fault.match || fault.match.test(url)),
    );
    if (index < 0) return undefined;
    const fault = this.faults[index];
    fault.times = (fault.times ?? 1) - 1;
    if (fault.times <= 0) this.faults.splice(index, 1);
    return fault;
  }

  async handle(where, request, response) {
    const url = new URL(request.url, 'http://localhost');
    const entry = { where, method: request.method, path: request.url, headers: { ...request.headers }, status: 0 };
    this.requests.push(entry);
    response.on('close', () => (entry.status = response.statusCode));
    const fault = this.takeFault(where, request.method, request.url) ?? {};
    try {
      if (fault.delayMs) await sleep(fault.delayMs);
      if (fault.reset) return void request.socket.destroy();
      if (fault.status) {
        return sendError(
          response,
          fault.status,
          fault.code ?? 'Fault',
          fault.message ?? 'a fault on demand',
          fault.headers,
        );
      }
      if (where === 'cdn') return await this.serveCdn(url.pathname, request, response, fault);
      await this.serveHub(url, request, response, fault);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendError(response, 500, 'ServerError', String(error));
    }
  }

  async serveHub(url, request, response, fault) {
    // The revision may hold an encoded slash (refs%2Fpr%2F1): match before decoding.
    const api = API.exec(url.pathname);
    if (api) {
      const [kind, id, what, revision, rest] = [
        api[1],
        api[2],
        api[3],
        decodeURIComponent(api[4]),
        decodeURIComponent(api[5] ?? ''),
      ];
      const repo = await this.openRepo(kind, id, revision, request, response);
      if (!repo) return;
      if (what === 'tree') return this.serveTree(url, repo, rest, response, fault);
      return sendJson(response, 200, {
        _id: repo.commit.slice(0, 24),
        id,
        sha: repo.commit,
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
        lastModified: '2024-01-01T00:00:00.000Z',
        siblings: (await this.repositories.files(repo.folder)).map((file) => ({ rfilename: file.path })),
        ...fault.json,
      });
    }
    const resolve = RESOLVE.exec(url.pathname);
    if (!resolve) return sendError(response, 404, 'NotFound', `no such page: ${url.pathname}`);
    const kind = resolve[1] ? 'datasets' : 'models';
    const repo = await this.openRepo(kind, resolve[2], decodeURIComponent(resolve[3]), request, response);
    if (repo) await this.serveResolve(kind, resolve[2], repo, decodeURIComponent(resolve[4]), request, response, fault);
  }

  /** Checks token, repository and revision as the Hub does; answers with its error and returns undefined on failure. */
  async openRepo(kind, id, revision, request, response) {
    const authorization = request.headers.authorization;
    const gate = this.options.gated?.[`${kind}/${id}`];
    const { token } = this.options;
    if (authorization && token && authorization !== `Bearer ${token}` && authorization !== `Bearer ${gate}`) {
      return void sendError(response, 401, 'InvalidToken', 'Invalid credentials in Authorization header');
    }
    const folder = this.repositories.folder(kind, id);
    if (!folder) {
      // Without a token the Hub does not tell a missing repository from a private one.
      if (authorization) return void sendError(response, 404, 'RepoNotFound', 'Repository not found');
      return void sendError(response, 401, 'RepoNotFound', 'Invalid username or password.');
    }
    if (gate && authorization !== `Bearer ${gate}`) {
      const message = `Access to ${kind.slice(0, -1)} ${id} is restricted.`;
      return void sendError(response, authorization ? 403 : 401, 'GatedRepo', message);
    }
    const commit = await this.repositories.commit(folder);
    if (![commit, 'main', 'HEAD', ...(this.options.revisions ?? [])].includes(revision)) {
      return void sendError(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    }
    return { folder, commit };
  }

  async serveTree(url, repo, folder, response, fault) {
    const prefix = folder ? `${folder}/` : '';
    const recursive = url.searchParams.get('recursive') === 'true';
    const below = (await this.repositories.files(repo.folder)).filter((file) => file.path.startsWith(prefix));
    if (folder && below.length === 0) {
      return sendError(response, 404, 'EntryNotFound', `${folder} does not exist on "main"`);
    }
    const entries = new Map();
    for (const file of below) {
      const [first, ...others] = file.path.slice(prefix.length).split('/');
      if (others.length === 0 || recursive) entries.set(file.path, file);
      else entries.set(prefix + first, { type: 'directory', oid: '0'.repeat(40), size: 0, path: prefix + first });
    }
    const all = [...entries.values(), ...(fault.entries ?? [])];
    const size = this.options.pageSize ?? 1000;
    const cursor = Number(url.searchParams.get('cursor') ?? 0);
    const headers = {};
    if (cursor + size < all.length) {
      const next = new URL(url.pathname + url.search, fault.linkTo ?? this.url);
      next.searchParams.set('cursor', String(cursor + size));
      headers.link = `<${next.href}>; rel="next"`;
    }
    sendJson(response, 200, all.slice(cursor, cursor + size), headers);
  }

  async serveResolve(kind, id, repo, name, request, response, fault) {
    const file = (await this.repositories.files(repo.folder)).find((candidate) => candidate.path === name);
    if (!file)
      return sendError(response, 404, 'EntryNotFound', `Entry not found: ${name}`, { 'x-repo-commit': repo.commit });
    const headers = { 'x-repo-commit': repo.commit, ...(fault.headers ?? {}) };
    if (file.lfs) {
      headers['x-linked-etag'] = fault.etag ?? `"${file.lfs.oid}"`;
      headers['x-linked-size'] = String(file.size);
    }
    if (this.options.cdn && file.lfs) {
      response.writeHead(302, {
        ...headers,
        location: `${this.cdnUrl}/cdn/${kind}/${encodeURIComponent(id)}/${encodeURIComponent(name)}`,
        'content-length': 0,
      });
      return void response.end();
    }
    headers.etag = fault.etag ?? `"${file.lfs?.oid ?? file.oid}"`;
    await this.sendFile(join(repo.folder, name), file.size, headers, request, response, fault);
  }

  async serveCdn(path, request, response, fault) {
    const [, kind, id, name] = (CDN.exec(path) ?? []).map(decodeURIComponent);
    const folder = kind && this.repositories.folder(kind, id);
    const file = folder && (await this.repositories.files(folder)).find((candidate) => candidate.path === name);
    if (!file) return sendError(response, 404, 'NoSuchKey', `no such object: ${path}`);
    await this.sendFile(join(folder, name), file.size, { etag: '"of-the-cdn"' }, request, response, fault);
  }

  /** Sends a file's bytes, whole or the range asked for, with what the fault does to them. */
  async sendFile(path, size, headers, request, response, fault) {
    const range = parseRange(fault.ignoreRange ? undefined : request.headers.range, size);
    if (!range) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${size}`, 'content-length': 0 });
      return void response.end();
    }
    const { start, end, partial } = range;
    const shown = { ...headers, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' };
    if (partial) shown['content-range'] = `bytes ${start}-${end - 1}/${fault.saySize ?? size}`;
    shown['content-length'] = fault.sayLength ?? end - start;
    if (fault.chunked) delete shown['content-length'];
    response.writeHead(partial ? 206 : 200, shown);
    if (request.method === 'HEAD') return void response.end();
    await this.sendBytes(path, start, end, response, fault);
  }

  async sendBytes(path, start, end, response, fault) {
    const stop = fault.truncateAt === undefined ? end : Math.min(end, start + fault.truncateAt);
    try {
      await pipeline(piecesOf(path, start, stop, fault), response, { end: false });
    } catch {
      return; // the client has gone
    }
    if (fault.hang) return;
    // A cut connection, not a clean end: the client must notice by itself.
    if (stop < end && !fault.chunked) response.destroy();
    else response.end();
  }
}

/** The bytes `start` up to `stop` of a file, as a fault wants them. */
async function* piecesOf(path, start, stop, fault) {
  if (stop <= start) return;
  const pieces = createReadStream(path, { start, end: stop - 1, highWaterMark: fault.chunkBytes ?? 65536 });
  for await (const piece of pieces) {
    if (fault.corrupt) piece[0] ^= 0xff;
    yield piece;
    if (fault.chunkDelayMs) await sleep(fault.chunkDelayMs);
  }
}

/** Starts the server; see server.d.mts for the options. */
export async function startHubServer(options) {
  const server = new HubServer(options);
  await server.listen();
  return server;
}
