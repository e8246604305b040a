import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile, utimes } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareRunFolder, withRunFolder } from '../../src/run/folder.js';
import { trainRun } from '../../src/run/train.js';
import { fakeConfig, fakeRun, type FakeRun } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-folder-'));
  folder = path.join(root, 'results', 'run');
});
afterEach(async () => {
  await chmod(root, 0o755);
  await rm(root, { recursive: true });
});

/** Every file of a folder with its bytes. */
async function contents(of: string): Promise<Record<string, string>> {
  const entries = await readdir(of, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(files.sort().map(async (file) => [file, (await readFile(file)).toString('base64')] as const)),
  );
}

describe("a run's folder", () => {
  it('is made with its parents, and left empty by the writing test', async () => {
    expect(await prepareRunFolder(folder, 'refuse')).toBe(folder);
    expect(await readdir(folder)).toEqual([]);
  });

  it('that cannot be made is refused before any work', async () => {
    const file = path.join(root, 'file');
    await writeFile(file, '');
    const run = fakeRun();
    let loaded = false;
    run.context.parts!.resolveModel = () => {
      loaded = true;
      return Promise.reject(new Error('not reached'));
    };
    await expect(trainRun(fakeConfig(path.join(file, 'run')), run.context)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(
        /the output folder .*file\/run cannot be written .*choose another output_dir/,
      ) as string,
    });
    expect(loaded).toBe(false);
  });

  // root may write anywhere, so the permission itself can only be tested as another user
  it.skipIf(process.getuid?.() === 0)('that may not be written is refused', async () => {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o555);
    await expect(prepareRunFolder(folder, 'refuse')).rejects.toMatchObject({ code: 'IO' });
  });

  it('with a run in it is refused, and replaced with overwrite', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    await expect(trainRun(fakeConfig(folder), fakeRun().context)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/is not empty .*--overwrite/) as string,
    });
    for (const name of [
      'answers_round_3.jsonl',
      'answers_round_3.jsonl.settings.json',
      'answers_round_3.scores.jsonl',
    ]) {
      await writeFile(path.join(folder, name), '');
    }
    await writeFile(path.join(folder, 'notes.txt'), 'mine');
    await trainRun(fakeConfig(folder, { rounds: 1 }), fakeRun({ overwrite: true }).context);
    const names = await readdir(folder);
    expect(names).toContain('notes.txt');
    expect(names.filter((name) => name.startsWith('answers'))).toEqual([]);
    expect(names.filter((name) => name.endsWith('.pt'))).toEqual(['adapters_round_1.pt']);
  });

  it.each([
    ['the model', (run: FakeRun) => (run.context.parts!.resolveModel = () => Promise.reject(new Error('offline')))],
    ['the data', (run: FakeRun) => (run.context.parts!.loadScenario = () => Promise.reject(new Error('offline')))],
  ])('keeps the run in it where an overwriting one fails at %s', async (_, breakIt) => {
    await trainRun(fakeConfig(folder, { rounds: 1 }), fakeRun().context);
    const before = await contents(folder);
    const run = fakeRun({ overwrite: true });
    breakIt(run);
    await expect(trainRun(fakeConfig(folder), run.context)).rejects.toThrow('offline');
    expect(await contents(folder)).toEqual(before);
  });

  it('keeps the run in it where an overwriting one cannot make its adapters', async () => {
    await trainRun(fakeConfig(folder, { rounds: 1 }), fakeRun().context);
    const before = await contents(folder);
    const config = fakeConfig(folder, { initialAdapter: path.join(root, 'none.safetensors') });
    await expect(trainRun(config, fakeRun({ overwrite: true }).context)).rejects.toMatchObject({ code: 'IO' });
    expect(await contents(folder)).toEqual(before);
  });

  it('that is no run is never emptied', async () => {
    await mkdir(path.join(folder, 'final'), { recursive: true });
    await writeFile(path.join(folder, 'config.yaml'), 'mine: 1');
    await expect(prepareRunFolder(folder, 'replace')).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('no run of fltac') as string,
    });
    expect((await readdir(folder)).sort()).toEqual(['config.yaml', 'final']);
  });

  it('goes with the parents made for it when it stays empty', async () => {
    await withRunFolder(folder, 'refuse', () => Promise.resolve());
    expect(await readdir(root)).toEqual([]);
    await mkdir(folder, { recursive: true });
    await withRunFolder(folder, 'refuse', () => Promise.resolve());
    expect(await readdir(folder)).toEqual([]);
  });

  it('stays when it is not empty, without its lock', async () => {
    const fail = async (own: string) => {
      await writeFile(path.join(own, 'a'), '');
      throw new Error('work failed');
    };
    await expect(withRunFolder(folder, 'refuse', fail)).rejects.toThrow('work failed');
    expect(await readdir(folder)).toEqual(['a']);
  });

  it('in which a run works is refused to a second one, with overwrite too', async () => {
    await withRunFolder(folder, 'refuse', async () => {
      for (const overwrite of [false, true]) {
        await expect(trainRun(fakeConfig(folder), fakeRun({ overwrite }).context)).rejects.toMatchObject({
          code: 'USAGE',
          message: expect.stringContaining(`another run is working in the output folder ${folder}`) as string,
        });
      }
    });
    await trainRun(fakeConfig(folder, { rounds: 1 }), fakeRun().context);
    expect(await readdir(folder)).not.toContain('run.lock');
  });

  it('with the lock of a process that is gone is taken over', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'run.lock'), `${pid} ${os.hostname()}`);
    await withRunFolder(folder, 'refuse', () => Promise.resolve());
    expect(await readdir(folder)).toEqual([]);
  });

  it('with a lock under the own process number is taken over only where it is older than the process', async () => {
    const lock = path.join(folder, 'run.lock');
    await mkdir(folder, { recursive: true });
    await writeFile(lock, `${process.pid} ${os.hostname()}`);
    await expect(withRunFolder(folder, 'refuse', () => Promise.resolve())).rejects.toMatchObject({ code: 'USAGE' });
    const before = new Date(Date.now() - process.uptime() * 1000 - 10_000);
    await utimes(lock, before, before);
    await withRunFolder(folder, 'refuse', () => Promise.resolve());
    expect(await readdir(folder)).toEqual([]);
  });

  it('that is a file is said to be one', async () => {
    const file = path.join(root, 'file');
    await writeFile(file, '');
    await expect(trainRun(fakeConfig(file), fakeRun().context)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining(`cannot be written (${file} is a file)`) as string,
    });
  });

  it('needs no log or signal from a library', async () => {
    const { parts } = fakeRun().context;
    await trainRun(fakeConfig(folder, { rounds: 1 }), { parts: parts! });
    expect(await readdir(folder)).toContain('metrics.jsonl');
  });

  // Node's recursive mkdir spins there for ever
  it.skipIf(process.platform !== 'linux')('below /proc is refused', async () => {
    await expect(trainRun(fakeConfig('/proc/fltac/run'), fakeRun().context)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('/proc/fltac/run cannot be written') as string,
    });
  });
});
