// One build at a time in a checkout: two would write the same files.
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 300;
/** A holder touches its lock this often; a lock untouched for STALE_MS is nobody's, though its process id may be in use. */
const TOUCH_MS = 5_000;
const STALE_MS = 60_000;

/** Whether a process with this id exists. */
export function processAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** The lock's holder and age; undefined when the lock has just been given back. */
function inspectLock(path) {
  try {
    return { pid: Number(readFileSync(path, 'utf8')), age: Date.now() - statSync(path).mtimeMs };
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** pid 0: the file was made this instant and its holder is about to write its id. */
function abandoned({ pid, age }) {
  return age > STALE_MS || pid === process.pid || (pid !== 0 && !processAlive(pid));
}

/** Takes the lock file, waiting for a living holder and removing a dead one's; returns the function that gives it back. */
export async function takeLock(path, log) {
  mkdirSync(dirname(path), { recursive: true });
  for (let waited = false; ;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const lock = inspectLock(path);
    if (lock === undefined) continue;
    if (abandoned(lock)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!waited) log(`waiting for the build that process ${lock.pid} runs in this folder`);
    waited = true;
    await sleep(POLL_MS);
  }
  const touch = setInterval(() => {
    utimesSync(path, new Date(), new Date());
  }, TOUCH_MS).unref();
  return () => {
    clearInterval(touch);
    rmSync(path, { force: true });
  };
}
