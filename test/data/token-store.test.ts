import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { TextColumnBuilder, selectTable, type Table } from '../../src/data/table.js';
import { TokenCache, decodePart, encodePart } from '../../src/data/token-store.js';
import { TextTokenizer, TokenizedTable } from '../../src/data/tokenize.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { keptLog } from '../support/hub.js';

const FOLDER = dataFixture('tokenizer');
const WORDS = ['a', 'boat', 'sings', 'the', 'small', 'day'];

/** Rows of different texts. */
function tableOf(rows: number, word = (row: number) => WORDS[row % WORDS.length]!): Table {
  const texts = new TextColumnBuilder();
  for (let row = 0; row < rows; row += 1) texts.append(`${word(row)} ${WORDS[(row * 7) % 5]!}`.repeat(1 + (row % 3)));
  return {
    rows,
    texts: [texts.finish()],
    labels: new Int32Array(rows),
    sources: [{ path: 'rows', rows }],
  };
}

/** A start of fltac: a tokenizer whose work is counted, and a table with the cache in `folder`. */
async function start(folder: string, table = tableOf(40), { maxLen = 16, log = keptLog() } = {}) {
  const tokenizer = await TextTokenizer.open(FOLDER, maxLen);
  const encoded = vi.spyOn(tokenizer, 'encode');
  const tokens = new TokenizedTable(tokenizer, table, new TokenCache(folder, log));
  const rowsTokenised = () => encoded.mock.calls.reduce((sum, [rows]) => sum + rows.length, 0);
  const take = async (...rows: number[]) => {
    const sequences = await tokens.sequences(Int32Array.from(rows));
    await tokens.settled();
    return sequences;
  };
  return { tokens, take, rowsTokenised, log };
}

/** All parts below a cache's folder. */
function parts(folder: string): string[] {
  const root = join(folder, 'fltac-tokens');
  if (!existsSync(root)) return [];
  return readdirSync(root).flatMap((key) => readdirSync(join(root, key)).map((name) => join(root, key, name)));
}

describe('tokens on disk', () => {
  it('spare a second start what the first tokenised, and nothing else', async () => {
    const folder = temporaryFolder();
    const first = await start(folder);
    const sequences = await first.take(3, 1, 3, 20);
    expect(first.rowsTokenised()).toBe(3);
    const second = await start(folder);
    expect(await second.take(3, 1, 3, 20)).toEqual(sequences);
    expect(second.rowsTokenised()).toBe(0);
    await second.take(3, 4);
    expect(second.rowsTokenised()).toBe(1);
    const third = await start(folder);
    await third.take(3, 1, 20, 4);
    expect(third.rowsTokenised()).toBe(0);
  });

  it.each<[string, () => Table, { maxLen: number }]>([
    ['another length', () => tableOf(40), { maxLen: 12 }],
    ['other texts', () => tableOf(40, () => 'day'), { maxLen: 16 }],
    [
      'other rows of the same texts',
      () =>
        selectTable(
          tableOf(41),
          Int32Array.from({ length: 40 }, (_, i) => i + 1),
        ),
      { maxLen: 16 },
    ],
  ])('are not taken for %s', async (_, table, options) => {
    const folder = temporaryFolder();
    await (await start(folder)).take(1, 2);
    const other = await start(folder, table(), options);
    const plain = new TokenizedTable(await TextTokenizer.open(FOLDER, options.maxLen), table());
    expect(await other.take(1, 2)).toEqual(await plain.sequences(Int32Array.of(1, 2)));
    expect(other.rowsTokenised()).toBe(2);
  });

  const damages: [string, (path: string) => void][] = [
    ['cut off', (path) => truncateSync(path, statSync(path).size - 5)],
    ['empty', (path) => truncateSync(path, 0)],
    ['changed in one bit', (path) => flip(path, 40)],
    ['no part at all', (path) => writeFileSync(path, 'what is this?'.repeat(50))],
  ];
  it.each(damages)('are made again where a part is %s', async (_, damage) => {
    const folder = temporaryFolder();
    const sequences = await (await start(folder)).take(1, 2, 3);
    const [part] = parts(folder);
    damage(part!);
    const second = await start(folder);
    expect(await second.take(1, 2, 3)).toEqual(sequences);
    expect(second.rowsTokenised()).toBe(3);
    expect(second.log.lines).toEqual([
      expect.stringMatching(/^info: .*\.tokens is broken \(.*\): its rows are tokenised again$/),
    ]);
    const third = await start(folder);
    await third.take(1, 2, 3);
    expect(third.rowsTokenised()).toBe(0);
  });

  it('become one part once there are many', async () => {
    const folder = temporaryFolder();
    const first = await start(folder);
    for (let row = 0; row < 30; row += 1) await first.take(row);
    expect(parts(folder).length).toBeLessThanOrEqual(12);
    const second = await start(folder);
    await second.take(...Array.from({ length: 30 }, (_, row) => row));
    expect(second.rowsTokenised()).toBe(0);
  });

  it('may be written by two runs at once', async () => {
    const folder = temporaryFolder();
    const [one, two] = await Promise.all([start(folder), start(folder)]);
    await Promise.all([one.take(1, 2, 3), two.take(3, 4, 5)]);
    const third = await start(folder);
    await third.take(1, 2, 3, 4, 5);
    expect(third.rowsTokenised()).toBe(0);
  });

  it('that cannot be written are told once, and the rows are right', async () => {
    const file = join(temporaryFolder(), 'a-file');
    writeFileSync(file, '');
    const { take, log } = await start(file);
    expect((await take(1, 2)).offsets).toHaveLength(3);
    await take(3);
    expect(log.lines).toEqual([
      expect.stringMatching(/^warn: tokens are not kept for the next start \(.*\): make cache_dir writable/),
    ]);
  });

  it('used longest ago make room', async () => {
    const folder = temporaryFolder();
    const root = join(folder, 'fltac-tokens');
    for (const [i, key] of ['a'.repeat(32), 'b'.repeat(32), 'not-a-key'].entries()) {
      mkdirSync(join(root, key), { recursive: true });
      writeFileSync(join(root, key, 'x.tokens'), '');
      truncateSync(join(root, key, 'x.tokens'), 2 ** 30 + 2 ** 28); // sparse: takes no room
      utimesSync(join(root, key), 1000 - i, 1000 - i);
    }
    await (await start(folder)).take(1);
    expect(readdirSync(root)).toContain('a'.repeat(32));
    expect(readdirSync(root)).toContain('not-a-key');
    expect(readdirSync(root)).not.toContain('b'.repeat(32));
    rmSync(root, { recursive: true });
  });
});

describe('a part', () => {
  const limits = { rows: 100, maxLen: 8, marks: true };
  const ids = fc.array(fc.integer({ min: 0, max: 2 ** 20 }), { maxLength: 8 });
  const row = fc.record({ row: fc.integer({ min: 0, max: 99 }), ids });

  it('reads back as it was written, and with any byte changed not at all', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 10 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (rows, at, change) => {
        const part = {
          rows: Int32Array.from(rows, (one) => one.row),
          lengths: Int32Array.from(rows, (one) => one.ids.length),
          ids: Int32Array.from(rows.flatMap((one) => one.ids)),
          marks: Uint8Array.from(
            rows.flatMap((one) => one.ids),
            (id) => id % 2,
          ),
        };
        const file = encodePart(part);
        expect(decodePart(file, limits)).toEqual(part);
        file[at % file.length]! ^= change;
        expect(decodePart(file, limits)).toBeTypeOf('string');
      }),
    );
  });

  it('with rows or lengths that the table cannot have is none', () => {
    const part = (row: number, length: number) =>
      encodePart({
        rows: Int32Array.of(row),
        lengths: Int32Array.of(length),
        ids: new Int32Array(length),
        marks: new Uint8Array(length),
      });
    expect(decodePart(part(99, 8), limits)).toBeTypeOf('object');
    expect(decodePart(part(100, 8), limits)).toBe('its rows are none of this table');
    expect(decodePart(part(99, 9), limits)).toBe('its rows are none of this table');
    expect(decodePart(part(99, 8), { ...limits, marks: false })).toBe('its rows are none of this table');
  });
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}
