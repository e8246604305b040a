/** One repository at one commit: what it holds, and the folder in the cache where its files appear. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { datasetInfo, listFiles, modelInfo } from '@huggingface/hub';
import { FltacError } from '../../errors.js';
import type { RetryContext } from '../../net/retry.js';
import { plural } from '../../run/log.js';
import { fetchBlob, type HubFile } from './blob.js';
import { fileSize, isCommit, RepoCache, writing } from './cache.js';
import { HubUnreachable, type Subject } from './failures.js';
import { HubHttp } from './http.js';
import { checkFileName, checkHash, checkRepo, repoTitle, shown, type HubRepo } from './names.js';
import type { HubSettings } from './settings.js';

/** Files downloaded at once. */
const PARALLEL = 3;
/** The Hub asks for no more files in a repository; a page of its listing has up to a thousand. */
const MOST_FILES = 100_000;
const MOST_PAGES = 1_000;

export interface Snapshot {
  readonly repo: HubRepo;
  readonly revision: string;
  readonly commit: string;
  /** absolute folder in the cache; files are there once fetched */
  readonly folder: string;
  /** names of all files below a folder of the repository (all of it by default), sorted. @throws NETWORK */
  list(folder?: string): Promise<string[]>;
  /** makes these listed files appear in `folder`, with one progress bar. @throws NETWORK, IO, ABORTED */
  fetch(names: readonly string[]): Promise<void>;
  /** notes in the cache that `revision` stands at this commit; to be called when all that is needed has been fetched */
  remember(): Promise<void>;
}

/**
 * Opens `repo` at `revision`, runs `work` on it and closes the connections. Where the Hub cannot be reached but the
 * cache knows the revision, that copy is used, with a warning; with HF_HUB_OFFLINE only the cache is looked at.
 * @throws USAGE for an id or revision that cannot be, NETWORK, IO, ABORTED
 */
export async function withSnapshot<T>(
  repo: HubRepo,
  revision: string,
  settings: HubSettings,
  context: RetryContext,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  checkRepo(repo, revision);
  const cache = new RepoCache(settings.cacheDir, repo);
  const http = new HubHttp(settings, context);
  try {
    return await work(await openSnapshot(repo, revision, cache, http));
  } finally {
    await http.close();
  }
}

async function openSnapshot(repo: HubRepo, revision: string, cache: RepoCache, http: HubHttp): Promise<Snapshot> {
  const { settings, context } = http;
  const known = await cache.commitOf(revision);
  if (settings.offline) {
    if (known) return new CachedSnapshot(repo, revision, known, cache, 'HF_HUB_OFFLINE is set');
    throw new FltacError(
      'NETWORK',
      `HF_HUB_OFFLINE is set and ${settings.cacheDir} holds no ${repoTitle(repo)} at revision ${revision}: ` +
        'unset it and run once with the network, or set cache_dir to the folder that has it',
    );
  }
  try {
    return new OnlineSnapshot(repo, revision, await commitAtHub(repo, revision, http), cache, http);
  } catch (error) {
    if (!(error instanceof HubUnreachable) || !known) throw error;
    context.log.warn(`${error.message}; using ${repoTitle(repo)} at commit ${known} from the cache`);
    return new CachedSnapshot(repo, revision, known, cache, 'the Hub cannot be reached');
  }
}

async function commitAtHub(repo: HubRepo, revision: string, http: HubHttp): Promise<string> {
  const params = {
    name: repo.id,
    revision,
    additionalFields: ['sha'] as ['sha'],
    hubUrl: http.settings.endpoint,
    fetch: http.apiFetch({ repo, revision }),
  };
  const ask = repo.type === 'model' ? () => modelInfo(params) : () => datasetInfo(params);
  const info: { sha?: unknown } = await readingJson(http, repo, ask);
  checkHash(repo, 'the commit', info.sha);
  return info.sha;
}

/** Failures within @huggingface/hub that say nothing but that an answer is not the JSON it expects. */
const MISREADINGS = [SyntaxError, TypeError, RangeError];

/** Runs a call of @huggingface/hub and words such a failure. */
async function readingJson<T>(http: HubHttp, repo: HubRepo, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!MISREADINGS.some((kind) => error instanceof kind)) throw error;
    const message = `${http.settings.endpoint} does not answer as a Hub for ${repoTitle(repo)}: check HF_ENDPOINT`;
    throw new FltacError('NETWORK', message, { cause: error });
  }
}

type ShowBytes = (file: HubFile, have: number) => void;

class OnlineSnapshot implements Snapshot {
  readonly folder: string;
  private readonly listed = new Map<string, HubFile>();

  constructor(
    readonly repo: HubRepo,
    readonly revision: string,
    readonly commit: string,
    private readonly cache: RepoCache,
    private readonly http: HubHttp,
  ) {
    this.folder = cache.snapshot(commit);
  }

  async list(folder?: string): Promise<string[]> {
    const subject: Subject = { repo: this.repo, revision: this.revision, ...(folder && { path: folder }) };
    const found = await readingJson(this.http, this.repo, () => this.listHub(subject));
    for (const file of found) this.listed.set(file.path, file);
    return found.map((file) => file.path).sort();
  }

  /** The listing carries size and hash of every file, so no request per file is needed before its download. */
  private async listHub(subject: Subject): Promise<HubFile[]> {
    const files: HubFile[] = [];
    const fetchPage = this.http.apiFetch(subject);
    let pages = 0;
    const entries = listFiles({
      repo: { type: this.repo.type, name: this.repo.id },
      recursive: true,
      revision: this.commit,
      hubUrl: this.http.settings.endpoint,
      fetch: async (...call) => {
        pages += 1;
        if (pages > MOST_PAGES) throw this.endlessListing();
        return fetchPage(...call);
      },
      ...(subject.path && { path: subject.path }),
    });
    for await (const entry of entries) {
      checkFileName(this.repo, entry.path);
      if (entry.type !== 'file') continue;
      if (files.length === MOST_FILES) throw this.endlessListing();
      const etag = entry.lfs?.oid ?? entry.oid;
      const size = entry.lfs?.size ?? entry.size;
      checkHash(this.repo, `the hash of ${entry.path}`, etag);
      if (!Number.isSafeInteger(size) || size < 0) {
        throw new FltacError(
          'NETWORK',
          `the Hub lists ${entry.path} of ${repoTitle(this.repo)} with size ${shown(size)}`,
        );
      }
      files.push({ path: entry.path, size, etag });
    }
    return files;
  }

  private endlessListing(): FltacError {
    const most = `${MOST_FILES} files or ${MOST_PAGES} pages`;
    return new FltacError('NETWORK', `the Hub lists more than ${most} of ${repoTitle(this.repo)}: check HF_ENDPOINT`);
  }

  async fetch(names: readonly string[]): Promise<void> {
    const wanted: HubFile[] = [];
    for (const name of names) {
      const file = this.listed.get(name);
      if (!file) throw new FltacError('INTERNAL', `${name} was not listed before it was fetched`);
      if ((await fileSize(join(this.folder, name))) !== file.size) wanted.push(file);
    }
    await writing(this.folder, () => mkdir(join(this.cache.root, 'blobs'), { recursive: true }));
    await writing(this.folder, () => mkdir(this.folder, { recursive: true }));
    if (wanted.length > 0) await this.download(wanted);
  }

  /** Downloads a few files at a time; the first failure stops the others, and all have stopped when this ends. */
  private async download(files: readonly HubFile[]): Promise<void> {
    const bar = this.startBar(files);
    const stop = new AbortController();
    const http = this.http.withSignal(stop.signal);
    const queue = [...files];
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      try {
        for (let file = queue.shift(); file; file = queue.shift()) await this.fetchOne(http, file, bar.show);
      } catch (error) {
        failures.push(error);
        stop.abort();
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, files.length) }, worker));
    bar.done(failures.length > 0 ? 'stopped' : 'done');
    if (failures.length > 0) throw failures[0];
  }

  /** One bar over all files, in kB. */
  private startBar(files: readonly HubFile[]): { show: ShowBytes; done: (note: string) => void } {
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const kilobytes = Math.max(1, Math.ceil(total / 1000));
    const title = `Downloading ${this.repo.id} (${plural(files.length, 'file')}, ${kilobytes} kB)`;
    const bar = this.http.context.log.progress(title, kilobytes);
    const bytes = new Map<HubFile, number>();
    const show: ShowBytes = (file, have) => {
      bytes.set(file, have);
      bar.update(Math.ceil([...bytes.values()].reduce((sum, value) => sum + value, 0) / 1000));
    };
    return { show, done: (note) => bar.done(note) };
  }

  private async fetchOne(http: HubHttp, file: HubFile, show: ShowBytes): Promise<void> {
    const subject = { repo: this.repo, revision: this.revision, path: file.path };
    const onBytes = (have: number): void => show(file, have);
    await fetchBlob({ http, cache: this.cache, subject, commit: this.commit, file, onBytes });
    await this.cache.link(this.commit, file.path, file.etag);
    show(file, file.size);
  }

  async remember(): Promise<void> {
    if (!isCommit(this.revision)) await this.cache.writeRef(this.revision, this.commit);
  }
}

class CachedSnapshot implements Snapshot {
  readonly folder: string;

  constructor(
    readonly repo: HubRepo,
    readonly revision: string,
    readonly commit: string,
    private readonly cache: RepoCache,
    private readonly why: string,
  ) {
    this.folder = cache.snapshot(commit);
  }

  async list(folder = ''): Promise<string[]> {
    return this.cache.snapshotFiles(this.commit, folder);
  }

  async fetch(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if ((await fileSize(join(this.folder, name))) !== undefined) continue;
      throw new FltacError(
        'NETWORK',
        `${this.why} and the cache lacks ${name} of ${repoTitle(this.repo)} (looked in ${this.folder}): run once with the network`,
      );
    }
  }

  /** The cache knows the revision already. */
  remember(): Promise<void> {
    return Promise.resolve();
  }
}
