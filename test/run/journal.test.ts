import { mkdtemp, open, readFile, readdir, rm, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Journal } from '../../src/run/journal.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'fltac-journal-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

/** What all open files inherit from; Node exports no name for it. */
async function handlePrototype(file: string): Promise<FileHandle> {
  const handle = await open(file, 'r');
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}

describe('a journal', () => {
  it('grows by whole groups of lines', async () => {
    const journal = new Journal(path.join(folder, 'metrics.jsonl'));
    await journal.append([
      { round: 1, loss: 0.5 },
      { round: 1, done: true },
    ]);
    await journal.append([]);
    await journal.append([{ round: 2, labels: [0, 1], ari: null }]);
    expect(await readFile(journal.path, 'utf8')).toBe(
      '{"round":1,"loss":0.5}\n{"round":1,"done":true}\n{"round":2,"labels":[0,1],"ari":null}\n',
    );
  });

  it.each([NaN, Infinity])('refuses the number %d and writes nothing of the group', async (value) => {
    const journal = new Journal(path.join(folder, 'metrics.jsonl'));
    await expect(journal.append([{ round: 1 }, { deep: { loss: [value] } }])).rejects.toMatchObject({
      code: 'NON_FINITE',
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['appendFile', 'sync'] as const)('is as it was when %s fails', async (call) => {
    const journal = new Journal(path.join(folder, 'metrics.jsonl'));
    await journal.append([{ round: 1 }]);
    const handles = await handlePrototype(journal.path);
    const failing = vi.spyOn(handles, call).mockImplementationOnce(async function (this: FileHandle) {
      await this.write('{"round":2}\n{"rou');
      throw new Error('the disk is full');
    });
    await expect(journal.append([{ round: 2 }, { round: 2, done: true }])).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('metrics.jsonl cannot be written: the disk is full') as string,
    });
    expect(failing).toHaveBeenCalledOnce();
    expect(await readFile(journal.path, 'utf8')).toBe('{"round":1}\n');
    await journal.append([{ round: 2 }]);
    expect(await readFile(journal.path, 'utf8')).toBe('{"round":1}\n{"round":2}\n');
  });

  it('names a file that cannot be written', async () => {
    const journal = new Journal(path.join(folder, 'none', 'metrics.jsonl'));
    await expect(journal.append([{ round: 1 }])).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('metrics.jsonl cannot be written') as string,
    });
  });
});
