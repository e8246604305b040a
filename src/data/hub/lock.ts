/** A lock file, so that two runs that need one blob do not write the same partial file. */
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { pause } from '../../net/retry.js';
import { writing } from './cache.js';

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** called once when another run holds the lock; what it throws ends the wait */
  onWait?: () => void;
  pollMs?: number;
  /** a lock not renewed for this long belongs to a run that died */
  staleMs?: number;
}

/** A lock without its owner's name belongs to a run that was killed as it made it. */
const NAMELESS_MS = 2_000;

/** Times of files may be as coarse as this. */
const CLOCK_MS = 2_000;

/**
 * Runs `work` while holding the lock file `path`, waiting for whoever holds it. A lock whose process has died (on this
 * machine) or that has not been renewed is taken over. Should two runs ever hold it at once, the hash check at the end
 * of a download still keeps a mixed file from getting its name.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const staleMs = options.staleMs ?? 60_000;
  await writing(path, () => mkdir(dirname(path), { recursive: true }));
  let told = false;
  while (!(await tryLock(path))) {
    if (await isStale(path, staleMs)) {
      await rm(path, { force: true });
      continue;
    }
    if (!told) options.onWait?.();
    told = true;
    await pause(options.pollMs ?? 200, options.signal);
  }
  const renewal = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined); // removed by hand: nothing to renew
  }, staleMs / 4).unref();
  try {
    return await work();
  } finally {
    clearInterval(renewal);
    await rm(path, { force: true });
  }
}

/** Whether a process holds the lock: it is there, and `withLock` would wait for it. */
export async function isHeld(path: string, staleMs: number): Promise<boolean> {
  const there = await stat(path).then(
    () => true,
    () => false,
  );
  return there && !(await isStale(path, staleMs));
}

async function tryLock(path: string): Promise<boolean> {
  return writing(path, async () => {
    const file = await open(path, 'wx').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined;
      throw error;
    });
    if (!file) return false;
    await file.writeFile(`${process.pid} ${hostname()}`);
    await file.close();
    return true;
  });
}

async function isStale(path: string, staleMs: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return false; // just released: try again
  if (Date.now() - found.mtimeMs > staleMs) return true;
  const text = await readFile(path, 'utf8').catch(() => undefined);
  // Its owner writes its name right after making it; one that was killed in between never will.
  if (text === '') return Date.now() - found.mtimeMs > NAMELESS_MS;
  const [owner, host] = (text ?? '').split(' ');
  if (host !== hostname()) return false;
  const pid = Number(owner);
  // A container that is started again has its host's name and number 1 as before: a lock that is older than this process,
  // and that its owner would have renewed, is of the one before.
  return pid === process.pid ? found.mtimeMs < startOfProcess() - CLOCK_MS : !isAlive(pid);
}

function startOfProcess(): number {
  return Date.now() - process.uptime() * 1000;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
