/**
 * The Hub cache as huggingface_hub lays it out, so that Python and fltac share one:
 *   <cache>/<type>s--<org>--<name>/blobs/<etag>                     contents, named by sha256 (LFS) or git's sha1
 *                                 /refs/<revision>                  the commit a branch or tag stood at
 *                                 /snapshots/<commit>/<path>        relative links into blobs/
 *   <cache>/.locks/<type>s--<org>--<name>/<etag>.*                  one download of a blob at a time
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { getRepoFolderName } from '@huggingface/hub';
import { FltacError } from '../../errors.js';
import type { HubRepo } from './names.js';

const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a revision is a full commit hash, which never moves. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Paths of one repository within the cache. Inputs are checked by names.ts before they come here. */
export class RepoCache {
  readonly root: string;
  private readonly locks: string;

  constructor(cacheDir: string, repo: HubRepo) {
    const name = getRepoFolderName({ type: repo.type, name: repo.id });
    this.root = join(cacheDir, name);
    this.locks = join(cacheDir, '.locks', name);
  }

  blob(etag: string): string {
    return join(this.root, 'blobs', etag);
  }

  lock(etag: string): string {
    return join(this.locks, `${etag}.fltac-lock`);
  }

  snapshot(commit: string): string {
    return join(this.root, 'snapshots', commit);
  }

  /** The commit the cache knows for a revision, or undefined. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return (await isFolder(this.snapshot(revision))) ? revision : undefined;
    const text = await readFile(join(this.root, 'refs', revision), 'utf8').catch(() => '');
    const commit = text.trim();
    return isCommit(commit) && (await isFolder(this.snapshot(commit))) ? commit : undefined;
  }

  /** Notes which commit a branch or tag stands at. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const path = join(this.root, 'refs', revision);
    const temporary = `${path}.tmp-${process.pid}`;
    await writing(path, async () => {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(temporary, commit);
      await rename(temporary, path);
    });
  }

  /** Makes snapshots/<commit>/<name> show a blob that is there. */
  async link(commit: string, name: string, etag: string): Promise<void> {
    const path = join(this.snapshot(commit), name);
    const temporary = `${path}.tmp-${process.pid}`;
    await writing(path, async () => {
      await mkdir(dirname(path), { recursive: true });
      await rm(temporary, { force: true });
      const target = relative(dirname(path), this.blob(etag));
      // Where links are not allowed (Windows without developer mode) huggingface_hub keeps a copy, too.
      await symlink(target, temporary).catch(() => copyFile(this.blob(etag), temporary));
      await rename(temporary, path);
    });
  }

  /** Names of the files of a snapshot below `folder`, sorted, with `/` between the parts. */
  async snapshotFiles(commit: string, folder: string): Promise<string[]> {
    const root = this.snapshot(commit);
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true }).catch(() => []);
    const names = entries
      .filter((entry) => !entry.isDirectory() && !entry.name.includes('.tmp-'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
    return names.sort();
  }
}

/** Size of the file that a path leads to, or undefined where there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  return stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );
}

/**
 * Hash of a file as the Hub names blobs: sha256 of the content where `like` has 64 digits (LFS), otherwise git's blob
 * hash, sha1 over "blob <size>\0" and the content.
 */
export async function blobHash(path: string, size: number, like: string): Promise<string> {
  const hash = like.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Runs file work on the cache and words its failures. @throws IO */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || !('syscall' in error)) throw error;
    throw new FltacError('IO', `cannot write ${path} (${error.message}): make room or choose another cache_dir`, {
      cause: error,
    });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
