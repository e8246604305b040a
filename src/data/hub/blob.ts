/**
 * Gets one blob into the cache. @huggingface/hub's downloadFileToCacheDir starts a broken file anew, shares its partial
 * file between runs without a lock, checks neither size nor hash, and reports no progress; hence this.
 *
 * The plain `resolve` address serves every file, those kept in Xet storage included, with ranges; so no Xet client is
 * needed. Blobs are named by their content's hash, which is why a partial file may be continued whoever began it.
 */
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { FltacError } from '../../errors.js';
import { PassingFailure, checkAborted, withRetries } from '../../net/retry.js';
import { blobHash, fileSize, writing, type RepoCache } from './cache.js';
import { titleOf, type Subject } from './failures.js';
import type { HubHttp } from './http.js';
import { withLock } from './lock.js';

const RANGE_REFUSED = 416;
/** Slower than this, over as long as silence may last, a download counts as stuck: 64 kB in a minute. */
const LEAST_BYTES_PER_SECOND = 1024;

/** A file as the Hub's listing describes it. */
export interface HubFile {
  /** path inside the repository, checked to stay inside */
  path: string;
  /** bytes */
  size: number;
  /** the blob's name: sha256 of an LFS file, git's sha1 of any other */
  etag: string;
}

export interface BlobRequest {
  http: HubHttp;
  cache: RepoCache;
  subject: Subject & { path: string };
  /** the commit that the file is taken from */
  commit: string;
  file: HubFile;
  /** called with the bytes of this file that are there now (falls when a partial file is discarded) */
  onBytes: (bytes: number) => void;
}

/**
 * Makes blobs/<etag> exist, whole and verified. A broken download leaves blobs/<etag>.incomplete, which is continued.
 * @throws NETWORK, IO, ABORTED
 */
export async function fetchBlob(request: BlobRequest): Promise<void> {
  const { cache, file, http } = request;
  const { signal, log } = http.context;
  if ((await fileSize(cache.blob(file.etag))) === file.size) return;
  const onWait = (): void => log.info(`another run is downloading ${titleOf(request.subject)}: waiting for it`);
  await withLock(cache.lock(file.etag), { signal, onWait }, async () => {
    if ((await fileSize(cache.blob(file.etag))) === file.size) return;
    await downloadVerified(request);
  });
}

/** Downloads, checks the hash and gives the blob its name; a partial file that turns out wrong is fetched anew once. */
async function downloadVerified(request: BlobRequest): Promise<void> {
  const { cache, file, http, subject } = request;
  const partial = `${cache.blob(file.etag)}.incomplete`;
  for (let round = 0; ; round++) {
    let most = 0;
    await withRetries(http.settings.retry, http.context, (progressed) =>
      receive(request, partial, (have) => {
        request.onBytes(have);
        // Only bytes beyond what was ever there count, or a file shorter than listed would be fetched for ever.
        if (have > most) progressed();
        most = Math.max(most, have);
      }),
    );
    const hash = await blobHash(partial, file.size, file.etag);
    if (hash === file.etag) break;
    await rm(partial, { force: true });
    request.onBytes(0);
    const summary = `${titleOf(subject)} arrived with hash ${hash}, expected ${file.etag}`;
    if (round > 0) throw new FltacError('NETWORK', `${summary}: the server or a proxy alters it; nothing was kept`);
    http.context.log.warn(`${summary}; downloading it again from the start`);
  }
  await writing(cache.blob(file.etag), () => rename(partial, cache.blob(file.etag)));
}

/** One try to bring the partial file to its full size; `onBytes` is told how much of it there is. */
async function receive(request: BlobRequest, partial: string, onBytes: (have: number) => void): Promise<void> {
  const { http, file, subject, commit } = request;
  const handle = await writing(partial, async () => open(partial, 'a'));
  try {
    let have = (await handle.stat()).size;
    if (have > file.size) have = await cut(handle, partial);
    onBytes(have);
    if (have === file.size) return;
    checkAborted(http.context.signal);
    const url = resolveUrl(http.settings.endpoint, subject, commit);
    // Without "identity" a server may compress, and neither ranges nor lengths would mean the file's bytes.
    const headers = { 'accept-encoding': 'identity', ...(have > 0 && { range: `bytes=${have}-` }) };
    const answer = await http.request(url, headers, subject, [RANGE_REFUSED]);
    if (have > 0 && !continuesAt(answer.status, answer.headers.get('content-range'), have, file.size)) {
      have = await cut(handle, partial);
      if (answer.status !== 200) {
        await answer.body?.cancel();
        throw passing(request, 'did not come as the part that was asked for');
      } // 200: the server sends the file from its start
    }
    const pace = new Pace(request);
    for await (const chunk of bodyOf(answer.body, request, url)) {
      have += chunk.length;
      pace.add(chunk.length);
      if (have > file.size) {
        await cut(handle, partial);
        throw passing(request, `is longer than the ${file.size} bytes listed`);
      }
      await writing(partial, () => handle.writeFile(chunk));
      onBytes(have);
    }
    if (have < file.size) throw passing(request, `ended after ${have} of ${file.size} bytes`);
    await writing(partial, () => handle.sync());
  } finally {
    await handle.close();
  }
}

/** Tells a server that sends a byte now and then, which neither silence nor an end gives away. */
class Pace {
  private start = performance.now();
  private bytes = 0;

  constructor(private readonly request: BlobRequest) {}

  /** @throws NETWORK, not to be tried again: every try would bring some bytes, and be as slow */
  add(bytes: number): void {
    this.bytes += bytes;
    const { bodyMs } = this.request.http.settings.timeouts;
    const ms = performance.now() - this.start;
    if (ms < bodyMs) return;
    if (this.bytes < (LEAST_BYTES_PER_SECOND * ms) / 1000) {
      const what = `${titleOf(this.request.subject)} comes at less than ${LEAST_BYTES_PER_SECOND} bytes a second`;
      throw new FltacError('NETWORK', `${what}: try again later; what has arrived is kept, and continued next time`);
    }
    this.start = performance.now();
    this.bytes = 0;
  }
}

/** The body's chunks; a connection that breaks becomes the error it stands for. */
async function* bodyOf(
  body: AsyncIterable<Uint8Array> | null,
  request: BlobRequest,
  url: string,
): AsyncGenerator<Uint8Array> {
  try {
    if (body) yield* body;
  } catch (error) {
    request.http.rethrow(error, request.subject, url);
  }
}

/** Discards what the partial file holds. */
async function cut(handle: FileHandle, partial: string): Promise<0> {
  await writing(partial, () => handle.truncate(0));
  return 0;
}

/** Whether an answer holds the bytes from `start` to the end of a file of `size` bytes. */
function continuesAt(status: number, contentRange: string | null, start: number, size: number): boolean {
  if (status !== 206) return false;
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? '');
  return match !== null && Number(match[1]) === start && (match[3] === '*' || Number(match[3]) === size);
}

function passing(request: BlobRequest, what: string): PassingFailure {
  const summary = `${titleOf(request.subject)} ${what}`;
  return new PassingFailure(summary, new FltacError('NETWORK', `${summary}, in every try: try again later`));
}

/** Address of a file's content at a commit. */
function resolveUrl(endpoint: string, subject: Subject & { path: string }, commit: string): string {
  const { repo, path } = subject;
  const prefix = repo.type === 'dataset' ? 'datasets/' : '';
  return `${endpoint}/${prefix}${repo.id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
}
