import { appendFileSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ResumableFile, withResumableFile, type Settings } from '../../src/run/resumable.js';
import { temporaryFolder } from '../support/files.js';
import { keptLog } from '../support/hub.js';

const schema = z.object({ row: z.int(), answer: z.string() });
const SETTINGS = { model: 'a', temperature: 0 };

function opener(folder = temporaryFolder()) {
  const path = join(folder, 'out', 'answers.jsonl');
  const log = keptLog();
  const open = (settings: Settings = SETTINGS, overwrite = false) =>
    ResumableFile.open({ path, settings, what: 'answers', overwrite, schema, log });
  return { path, log, open };
}

const record = (row: number) => ({ row, answer: `é ${row}` });

describe('a resumable file', () => {
  it('keeps records over several openings, with their settings beside it', async () => {
    const { path, open } = opener();
    const first = await open();
    expect(first.earlier).toEqual([]);
    await first.append([record(0), record(1)]);
    await first.append([record(2)]);
    const second = await open();
    expect(second.earlier).toEqual([record(0), record(1), record(2)]);
    await second.append([record(3)]);
    expect(
      readFileSync(path, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([0, 1, 2, 3].map(record));
    expect(JSON.parse(readFileSync(`${path}.settings.json`, 'utf8'))).toEqual(SETTINGS);
  });

  it('takes appends that overlap, each whole', async () => {
    const { path, open } = opener();
    const file = await open();
    await Promise.all(Array.from({ length: 40 }, (_, i) => file.append([record(2 * i), record(2 * i + 1)])));
    const rows = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { row: number }).row);
    expect(rows).toEqual(Array.from({ length: 80 }, (_, i) => i));
  });

  it('fails the append that failed and none after it', async () => {
    const { open } = opener();
    const file = await open();
    await expect(file.append([{ row: NaN, answer: '' }])).rejects.toMatchObject({ code: 'NON_FINITE' });
    await file.append([record(1)]);
    expect((await open()).earlier).toEqual([record(1)]);
  });

  it.each(['{"row":2,"ans', '{"row":2,"answer":"é 2"}', '{'])(
    'removes a last line without its end, and says so: %s',
    async (torn) => {
      const { path, log, open } = opener();
      await (await open()).append([record(0), record(1)]);
      const whole = readFileSync(path, 'utf8');
      appendFileSync(path, torn);
      const file = await open();
      expect(file.earlier).toEqual([record(0), record(1)]);
      expect(readFileSync(path, 'utf8')).toBe(whole);
      expect(log.lines).toEqual([expect.stringMatching(/^warn: .*ends in the middle of a line.*answers made again/)]);
    },
  );

  it('cuts a torn line in the middle of a character', async () => {
    const { path, open } = opener();
    await (await open()).append([record(0)]);
    appendFileSync(path, Buffer.from('{"row":1,"answer":"é').subarray(0, -1));
    await (await open()).append([record(1)]);
    expect((await open()).earlier).toEqual([record(0), record(1)]);
  });

  it('refuses other settings, naming each difference, unless told to overwrite', async () => {
    const { path, open } = opener();
    await (await open()).append([record(0)]);
    const other = { model: 'b', temperature: 0, seed: 3 };
    await expect(open(other)).rejects.toMatchObject({
      code: 'USAGE',
      message:
        `${path} holds answers of other settings:\n  model: "a" there, "b" now\n  seed: null there, 3 now\n` +
        'choose another --output, or give --overwrite to make it anew',
    });
    expect((await open(other, true)).earlier).toEqual([]);
  });

  it('keeps what is to be overwritten until the first new record is there', async () => {
    const { path, open } = opener();
    await (await open()).append([record(0), record(1)]);
    const other = { model: 'b' };
    const file = await open(other, true);
    expect((await open()).earlier).toEqual([record(0), record(1)]);
    await file.append([record(2)]);
    await file.append([record(3)]);
    expect((await open(other)).earlier).toEqual([record(2), record(3)]);
    expect(readdirSync(dirname(path)).filter((name) => name.includes('.tmp-'))).toEqual([]);
  });

  it('takes other settings while there is no record', async () => {
    const { path, open } = opener();
    await open();
    await open({ model: 'b' });
    expect(JSON.parse(readFileSync(`${path}.settings.json`, 'utf8'))).toEqual({ model: 'b' });
  });

  it('refuses a file whose settings are not known', async () => {
    const { path, open } = opener();
    await (await open()).append([record(0)]);
    rmSync(`${path}.settings.json`);
    await expect(open()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('which tells how its answers were made, cannot be read') as string,
    });
  });

  it.each([
    ['no JSON', 'x', /answers\.jsonl:2: expected a JSON object/],
    ['something else', '{"row":"1"}', /answers\.jsonl:2: expected a record of answers: .*row/],
  ])('refuses a line that is %s, naming it', async (_, line, message) => {
    const { path, open } = opener();
    await (await open()).append([record(0)]);
    appendFileSync(path, `${line}\n`);
    await expect(open()).rejects.toMatchObject({ code: 'FORMAT', message: expect.stringMatching(message) as string });
  });

  it('is worked on by one at a time', async () => {
    const { path, log, open } = opener();
    const options = { path, settings: SETTINGS, what: 'answers', overwrite: false, schema, log };
    const { signal } = new AbortController();
    const order: string[] = [];
    const work = () =>
      withResumableFile({ ...options, signal }, async (file) => {
        order.push(`finds ${file.earlier.length}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
        await file.append([record(0)]);
        order.push('ends');
      });
    await Promise.all([work(), work()]);
    expect(order).toEqual(['finds 0', 'ends', 'finds 1', 'ends']);
    expect(log.lines).toEqual([`info: another fltac is writing ${path}: waiting for it`]);
    expect(existsSync(`${path}.lock`)).toBe(false);
    expect((await open()).earlier).toHaveLength(2);
  });

  it('names a place that cannot be written', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'out'), '');
    await expect(opener(folder).open()).rejects.toMatchObject({ code: 'IO' });
  });
});
