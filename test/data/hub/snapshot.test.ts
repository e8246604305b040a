import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HubSettings } from '../../../src/data/hub/settings.js';
import type { HubRepo } from '../../../src/data/hub/names.js';
import { withSnapshot, type Snapshot } from '../../../src/data/hub/snapshot.js';
import type { HubServer } from '../../support/hub-server.js';
import {
  IMPATIENT,
  gitHash,
  hubOf,
  keptLog,
  randomContent,
  settingsFor,
  sha256,
  type KeptLog,
} from '../../support/hub.js';

const MODEL: HubRepo = { type: 'model', id: 'made-up/model' };
const CONFIG = '{"model_type": "bert"}\n';
const WEIGHTS = randomContent(300_000);
const FILES = {
  'models/made-up/model/config.json': CONFIG,
  'models/made-up/model/model.safetensors': WEIGHTS,
  'models/made-up/model/deep/er/notes.txt': 'a note\n',
};
const BLOBS = join('models--made-up--model', 'blobs');
const WEIGHTS_BLOB = join(BLOBS, sha256(WEIGHTS));

/** Fetches files of the model (all by default) and remembers the revision; gives the snapshot. */
async function fetchModel(
  settings: HubSettings,
  options: { names?: string[]; revision?: string; signal?: AbortSignal; log?: KeptLog } = {},
): Promise<Snapshot> {
  const context = { log: options.log ?? keptLog(), ...(options.signal && { signal: options.signal }) };
  return withSnapshot(MODEL, options.revision ?? 'main', settings, context, async (snapshot) => {
    const listed = await snapshot.list();
    await snapshot.fetch(options.names ?? listed);
    await snapshot.remember();
    return snapshot;
  });
}

function contentRequests(server: HubServer): string[] {
  return server.requests.filter((request) => request.path.includes('/resolve/')).map((request) => request.path);
}

/** Files that are not links below a folder, by path. */
function plainFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => lstatSync(join(folder, name)).isFile())
    .sort();
}

describe('the cache', () => {
  it("is laid out as huggingface_hub's: blobs by hash, refs, relative links in snapshots, nothing else", async () => {
    const server = await hubOf(FILES, { cdn: true });
    const settings = settingsFor(server);
    const { commit, folder } = await fetchModel(settings);
    const root = join(settings.cacheDir, 'models--made-up--model');
    expect(plainFiles(root)).toEqual(
      [`blobs/${gitHash(CONFIG)}`, `blobs/${gitHash('a note\n')}`, `blobs/${sha256(WEIGHTS)}`, 'refs/main'].sort(),
    );
    expect(readFileSync(join(root, 'refs/main'), 'utf8')).toBe(commit);
    expect(folder).toBe(join(root, 'snapshots', commit));
    expect(readlinkSync(join(folder, 'model.safetensors'))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(readlinkSync(join(folder, 'deep/er/notes.txt'))).toBe(`../../../../blobs/${gitHash('a note\n')}`);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
    expect(readdirSync(join(settings.cacheDir, '.locks', 'models--made-up--model'))).toEqual([]);
  });

  it('keeps data sets apart from models', async () => {
    const server = await hubOf({ 'datasets/made-up/rows/a/train.parquet': 'rows' });
    const settings = settingsFor(server);
    const repo = { type: 'dataset', id: 'made-up/rows' } as const;
    const folder = await withSnapshot(repo, 'main', settings, { log: keptLog() }, async (snapshot) => {
      expect(await snapshot.list('a')).toEqual(['a/train.parquet']);
      await snapshot.fetch(['a/train.parquet']);
      return snapshot.folder;
    });
    expect(readFileSync(join(folder, 'a/train.parquet'), 'utf8')).toBe('rows');
    expect(folder).toContain('datasets--made-up--rows');
    expect(contentRequests(server)).toEqual([expect.stringMatching(/^\/datasets\/made-up\/rows\/resolve\//)]);
  });

  it('has a place for old models without an organisation', async () => {
    const server = await hubOf({ 'models/old-model/model.safetensors': 'w' }, { cdn: true });
    const settings = settingsFor(server);
    const repo = { type: 'model', id: 'old-model' } as const;
    const folder = await withSnapshot(repo, 'main', settings, { log: keptLog() }, async (snapshot) => {
      await snapshot.fetch(await snapshot.list());
      return snapshot.folder;
    });
    expect(folder).toContain('/models--old-model/snapshots/');
    expect(readFileSync(join(folder, 'model.safetensors'), 'utf8')).toBe('w');
  });

  it('makes a second download ask for no content', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    await fetchModel(settings);
    expect(contentRequests(server)).toHaveLength(3);
    server.reset();
    const log = keptLog();
    await fetchModel(settings, { log });
    expect(contentRequests(server)).toEqual([]);
    expect(log.lines).toEqual([]);
  });

  it('downloads a blob again that does not have its size', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    await fetchModel(settings);
    writeFileSync(join(settings.cacheDir, WEIGHTS_BLOB), WEIGHTS.subarray(0, 1000));
    const { folder } = await fetchModel(settings);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
  });

  it('follows a branch that moves, and keeps the old snapshot', async () => {
    const server = await hubOf(FILES, { revisions: ['refs/pr/1'] });
    const settings = settingsFor(server);
    const { commit } = await fetchModel(settings, { revision: 'refs/pr/1' });
    const ref = join(settings.cacheDir, 'models--made-up--model/refs/refs/pr/1');
    expect(readFileSync(ref, 'utf8')).toBe(commit);
    const byCommit = await fetchModel(settings, { revision: commit });
    expect(byCommit.commit).toBe(commit);
    expect(existsSync(join(settings.cacheDir, 'models--made-up--model/refs', commit))).toBe(false);
  });

  it('shows one bar over all files, which ends at their size', async () => {
    const log = keptLog();
    await fetchModel(settingsFor(await hubOf(FILES)), { log });
    const kilobytes = Math.ceil((WEIGHTS.length + CONFIG.length + 7) / 1000);
    expect(log.lines).toEqual([
      `start: Downloading made-up/model (3 files, ${kilobytes} kB) ${kilobytes}`,
      'done: done',
    ]);
    expect(log.steps.at(-1)).toBe(kilobytes);
  });

  it('serves several pages of a listing', async () => {
    const server = await hubOf(FILES, { pageSize: 1 });
    await fetchModel(settingsFor(server));
    expect(server.requests.filter((request) => request.path.includes('/tree/'))).toHaveLength(3);
  });

  it('says which folder of the cache cannot be written', async () => {
    const settings = settingsFor(await hubOf(FILES));
    writeFileSync(join(settings.cacheDir, 'models--made-up--model'), 'a file in the way');
    const failure = { code: 'IO', message: expect.stringMatching(/cannot write .*models--made-up--model/) as string };
    await expect(fetchModel(settings)).rejects.toMatchObject(failure);
  });
});

describe('offline', () => {
  it('uses the cache alone and asks the Hub nothing', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    const { commit } = await fetchModel(settings);
    server.reset();
    const offline = { ...settings, offline: true };
    const snapshot = await fetchModel(offline);
    expect(snapshot.commit).toBe(commit);
    expect(await snapshot.list()).toEqual(['config.json', 'deep/er/notes.txt', 'model.safetensors']);
    expect(await snapshot.list('deep')).toEqual(['deep/er/notes.txt']);
    expect(server.requests).toEqual([]);
  });

  it('says what is missing from the cache', async () => {
    const settings = { ...settingsFor(await hubOf(FILES)), offline: true };
    await expect(fetchModel(settings)).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(
        /^HF_HUB_OFFLINE is set and .* holds no model made-up\/model at revision main/,
      ) as string,
    });
    await fetchModel({ ...settings, offline: false }, { names: ['config.json'] });
    await expect(fetchModel(settings, { names: ['model.safetensors'] })).rejects.toThrow(
      /HF_HUB_OFFLINE is set and the cache lacks model.safetensors of model made-up\/model/,
    );
  });

  it('falls back to the cache with a warning where the Hub cannot be reached', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    const { commit } = await fetchModel(settings);
    await server.close();
    const log = keptLog();
    expect((await fetchModel(settings, { log })).commit).toBe(commit);
    expect(log.lines).toEqual([expect.stringMatching(/^warn: .*ECONNREFUSED.*using model made-up\/model at commit/)]);
  });
});

describe('a broken download', () => {
  it('goes on where it stopped, within one run', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /model\.safetensors/, truncateAt: 100_000 });
    const settings = settingsFor(server);
    const log = keptLog();
    const { folder } = await fetchModel(settings, { names: ['model.safetensors'], log });
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
    const ranges = server.requests.filter((r) => r.path.includes('/resolve/')).map((r) => r.headers['range']);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    expect(log.lines[1]).toMatch(
      /^warn: .*model.safetensors of model made-up\/model.*trying again in 0.0 s \(try 2 of 3\)$/,
    );
  });

  it('leaves a partial file and no final one, and the next run goes on from it', async () => {
    const server = await hubOf(FILES, { cdn: true });
    server.faults.push({ on: 'cdn', truncateAt: 100_000 }, { on: 'cdn', status: 503, times: 5 });
    const settings = settingsFor(server);
    await expect(fetchModel(settings)).rejects.toMatchObject({ code: 'NETWORK' });
    const partial = join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`);
    const have = readFileSync(partial).length;
    expect(have).toBeGreaterThan(0);
    expect(existsSync(join(settings.cacheDir, WEIGHTS_BLOB))).toBe(false);
    expect(existsSync(join(settings.cacheDir, 'models--made-up--model/refs'))).toBe(false);
    server.reset();
    const { folder } = await fetchModel(settings);
    expect(server.requests.find((request) => request.where === 'cdn')?.headers['range']).toBe(`bytes=${have}-`);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
    expect(existsSync(partial)).toBe(false);
  });

  it.each([
    ['the server ignores ranges', { ignoreRange: true }],
    ['the server refuses ranges', { status: 416 }],
    ['the server names another size', { saySize: 299_999 }],
  ])('starts anew where %s', async (_, fault) => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    mkdirSync(join(settings.cacheDir, BLOBS), { recursive: true });
    writeFileSync(join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`), WEIGHTS.subarray(0, 5_000));
    server.faults.push({ match: /model\.safetensors/, ...fault });
    const { folder } = await fetchModel(settings);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
  });

  it.each([
    ['wrong bytes', randomContent(5_000)],
    ['too many bytes', randomContent(400_000)],
    ['all bytes, but wrong ones', randomContent(300_000)],
  ])('starts anew where the partial file holds %s', async (_, content) => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    mkdirSync(join(settings.cacheDir, BLOBS), { recursive: true });
    writeFileSync(join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`), content);
    const { folder } = await fetchModel(settings);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
  });

  it('only names a whole partial file without asking for its content', async () => {
    const server = await hubOf(FILES);
    const settings = settingsFor(server);
    mkdirSync(join(settings.cacheDir, BLOBS), { recursive: true });
    writeFileSync(join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`), WEIGHTS);
    await fetchModel(settings, { names: ['model.safetensors'] });
    expect(contentRequests(server)).toEqual([]);
  });

  it('is refused after two rounds where the content does not have its hash, and nothing is kept', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /model\.safetensors/, corrupt: true, times: 2 });
    const settings = settingsFor(server);
    await expect(fetchModel(settings)).rejects.toThrow(
      new RegExp(
        `model.safetensors of model made-up/model arrived with hash [0-9a-f]{64}, expected ${sha256(WEIGHTS)}`,
      ),
    );
    expect(plainFiles(join(settings.cacheDir, BLOBS)).filter((name) => name.startsWith(sha256(WEIGHTS)))).toEqual([]);
  });

  it('is refused where more bytes come than are listed', async () => {
    const server = await hubOf(FILES);
    server.faults.push({
      match: /\/tree\//,
      entries: [{ type: 'file', path: 'long.bin', size: 10, oid: '1'.repeat(40) }],
    });
    server.faults.push({ match: /long\.bin/, status: 404, times: 9 });
    await expect(fetchModel(settingsFor(server), { names: ['long.bin'] })).rejects.toMatchObject({ code: 'NETWORK' });
    const lying = await hubOf(FILES);
    const entry = { type: 'file', path: 'config.json', size: 10, oid: gitHash(CONFIG) };
    lying.faults.push({ match: /\/tree\//, entries: [entry] });
    await expect(fetchModel(settingsFor(lying), { names: ['config.json'] })).rejects.toThrow(
      /config.json of model made-up\/model is longer than the 10 bytes listed/,
    );
  });

  it('is refused where fewer bytes come than are listed', async () => {
    const server = await hubOf(FILES);
    const entry = { type: 'file', path: 'config.json', size: 1000, oid: gitHash(CONFIG) };
    server.faults.push({ match: /\/tree\//, entries: [entry] });
    await expect(fetchModel(settingsFor(server), { names: ['config.json'] })).rejects.toThrow(
      /config.json of model made-up\/model (ended after \d+ of 1000 bytes|did not come as the part)/,
    );
  });

  it('ends where bytes come too slowly to ever be all, and keeps them', async () => {
    const server = await hubOf(FILES);
    const settings = { ...settingsFor(server), timeouts: IMPATIENT };
    server.faults.push({ match: /model\.safetensors/, chunkBytes: 8, chunkDelayMs: 100, times: 9 });
    await expect(fetchModel(settings)).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(/model\.safetensors .* comes at less than 1024 bytes a second/) as string,
    });
    expect(existsSync(join(settings.cacheDir, WEIGHTS_BLOB))).toBe(false);
    expect(existsSync(join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`))).toBe(true);
  });

  it('ends after silence instead of waiting for ever', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /model\.safetensors/, truncateAt: 0, hang: true, times: 9 });
    const settings = { ...settingsFor(server), timeouts: IMPATIENT };
    await expect(fetchModel(settings, { names: ['model.safetensors'] })).rejects.toMatchObject({
      code: 'NETWORK',
    });
  });

  it('stops at once when it is aborted: partial files stay, final ones do not appear', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /model\.safetensors/, chunkBytes: 1000, chunkDelayMs: 20 });
    const settings = settingsFor(server);
    const stop = new AbortController();
    const running = fetchModel(settings, { signal: stop.signal });
    const partial = join(settings.cacheDir, `${WEIGHTS_BLOB}.incomplete`);
    await expect.poll(() => existsSync(partial) && readFileSync(partial).length > 2000).toBe(true);
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(existsSync(join(settings.cacheDir, WEIGHTS_BLOB))).toBe(false);
    expect(readFileSync(partial).equals(WEIGHTS.subarray(0, readFileSync(partial).length))).toBe(true);
    expect(readdirSync(join(settings.cacheDir, '.locks/models--made-up--model'))).toEqual([]);
    const { folder } = await fetchModel(settings);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
  });
});

describe('two runs at once', () => {
  it('download a blob once', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /model\.safetensors/, chunkBytes: 20_000, chunkDelayMs: 10 });
    const settings = settingsFor(server);
    const log = keptLog();
    const names = ['model.safetensors'];
    const both = await Promise.all([fetchModel(settings, { names, log }), fetchModel(settings, { names, log })]);
    for (const { folder } of both) expect(readFileSync(join(folder, 'model.safetensors')).equals(WEIGHTS)).toBe(true);
    expect(contentRequests(server)).toHaveLength(1);
    expect(log.lines).toContain(
      'info: another run is downloading model.safetensors of model made-up/model: waiting for it',
    );
  });

  it('take over the lock of a run that has died', async () => {
    const settings = settingsFor(await hubOf(FILES));
    const locks = join(settings.cacheDir, '.locks/models--made-up--model');
    mkdirSync(locks, { recursive: true });
    const { hostname } = await import('node:os');
    // No process has a number this high.
    writeFileSync(join(locks, `${sha256(WEIGHTS)}.fltac-lock`), `${2 ** 30} ${hostname()}`);
    const { folder } = await fetchModel(settings);
    expect(existsSync(join(folder, 'model.safetensors'))).toBe(true);
  });
});

describe('names from a listing', () => {
  it.each(['../../../evil', '/etc/evil', 'a/../../evil', 'C:\\evil', 'a\\..\\evil', 'a//b', './x', 'C:evil', ''])(
    'are refused where they climb: %s',
    async (path) => {
      const server = await hubOf(FILES);
      server.faults.push({ match: /\/tree\//, entries: [{ type: 'file', path, size: 4, oid: gitHash('evil') }] });
      const settings = settingsFor(server);
      await expect(fetchModel(settings)).rejects.toThrow(
        /lists a file named .*, which would lie outside the cache: refused/,
      );
      expect(contentRequests(server)).toEqual([]);
    },
  );

  it('are refused where they are no Unicode text', async () => {
    const server = await hubOf(FILES);
    const path = 'a\ud800b';
    server.faults.push({ match: /\/tree\//, entries: [{ type: 'file', path, size: 4, oid: gitHash('evil') }] });
    await expect(fetchModel(settingsFor(server))).rejects.toThrow(
      /lists a file named "a\\ud800b", which is no Unicode/,
    );
  });

  it('are refused where a hash or the commit is none', async () => {
    const server = await hubOf(FILES);
    server.faults.push({ match: /\/tree\//, entries: [{ type: 'file', path: 'x', size: 4, oid: '../../x' }] });
    await expect(fetchModel(settingsFor(server))).rejects.toThrow(/gave "..\/..\/x" as the hash of x of model/);
    server.faults.push({ match: /\/revision\//, json: { sha: '../..' } });
    await expect(fetchModel(settingsFor(server))).rejects.toThrow(
      /gave "..\/.." as the commit of model made-up\/model/,
    );
  });

  it.each([
    ['../x', 'main'],
    ['a/b/c', 'main'],
    ['made-up/model', '../main'],
    ['made-up/model', 'a//b'],
  ])('and ids that cannot be are refused before any request: %s at %s', async (id, revision) => {
    const server = await hubOf(FILES);
    const opened = withSnapshot({ type: 'model', id }, revision, settingsFor(server), { log: keptLog() }, () =>
      Promise.resolve(),
    );
    await expect(opened).rejects.toMatchObject({ code: 'USAGE' });
    expect(server.requests).toEqual([]);
  });
});
