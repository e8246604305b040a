import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeLock } from '../../scripts/lib/lock.mjs';

describe('the build lock', () => {
  let folder = '';
  let path = '';
  const said: string[] = [];
  const log = (message: string): void => void said.push(message);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fltac-lock-'));
    path = join(folder, 'build', 'lock');
    said.length = 0;
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('is a file while it is held', async () => {
    const release = await takeLock(path, log);
    expect(existsSync(path)).toBe(true);
    release();
    expect(existsSync(path)).toBe(false);
  });

  it('is waited for while its holder lives', async () => {
    const release = await takeLock(path, log);
    writeFileSync(path, String(process.ppid));
    let taken = false;
    const second = takeLock(path, log).then((releaseSecond) => {
      taken = true;
      return releaseSecond;
    });
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(taken).toBe(false);
    expect(said).toEqual([`waiting for the build that process ${process.ppid} runs in this folder`]);
    release();
    (await second)();
    expect(taken).toBe(true);
  });

  it('of a dead process is taken over', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    (await takeLock(path, log))();
    writeFileSync(path, String(pid));
    (await takeLock(path, log))();
    expect(said).toEqual([]);
  });

  it('left untouched for over a minute is taken over, even when its process id lives', async () => {
    (await takeLock(path, log))();
    writeFileSync(path, String(process.ppid));
    const old = new Date(Date.now() - 61_000);
    utimesSync(path, old, old);
    (await takeLock(path, log))();
    expect(said).toEqual([]);
  });
});
