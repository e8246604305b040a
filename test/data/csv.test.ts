import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MOST_LINE_BYTES } from '../../src/data/lines.js';
import { readTable } from '../../src/data/read-table.js';
import { temporaryFolder } from '../support/files.js';

const COLUMNS = { texts: ['text'], label: 'label' } as const;

function fileOf(content: string | Buffer, name = 'rows.csv'): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

const NAMES = { ...COLUMNS, labels: 'names' } as const;

async function rowsOf(path: string): Promise<[string, string][]> {
  const table = await readTable([path], NAMES);
  return Array.from(table.labels, (label, row) => [table.texts[0]!.get(row), table.labelNames![label]!]);
}

describe('a CSV file', () => {
  it.each([
    ['plain', 'text,label\na,x\nb,y\n'],
    ['with CR LF and a byte order mark', '\ufefftext,label\r\na,x\r\nb,y\r\n'],
    ['without an end of line, columns in another order', 'id,label,text\n1,x,a\n2,y,b'],
    ['with empty lines and quotes', '"text","label"\n\n"a",x\n\nb,"y"\n'],
  ])('%s gives its rows', async (_, content) => {
    expect(await rowsOf(fileOf(content))).toEqual([
      ['a', 'x'],
      ['b', 'y'],
    ]);
  });

  it('may hold separators, quotes and line breaks in quotes, and empty texts', async () => {
    const path = fileOf('text,label\n"a, ""b""\nc",x\n,y\nÜ 日本,z\n');
    expect(await rowsOf(path)).toEqual([
      ['a, "b"\nc', 'x'],
      ['', 'y'],
      ['Ü 日本', 'z'],
    ]);
  });

  it('may be separated by tabs, told by its name', async () => {
    expect(await rowsOf(fileOf('text\tlabel\na, b\tx\n', 'rows.tsv'))).toEqual([['a, b', 'x']]);
  });

  it('may have many rows, longer than any buffer', async () => {
    const text = 'é'.repeat(1_000);
    const path = fileOf(`text,label\n${Array.from({ length: 400 }, (_, i) => `${text}${i},${i % 3}`).join('\n')}\n`);
    const rows = await rowsOf(path);
    expect(rows).toHaveLength(400);
    expect(rows[399]).toEqual([`${text}399`, '0']);
  });

  it.each([
    ['a missing column', 'text,lable\na,1\n', /rows.csv: no column "label"; the file has "text", "lable"/],
    ['a column that is there twice', 'text,label,text\na,1,b\n', /the header names the column "text" more than once/],
    ['a row that is too long', 'text,label\na,1\nb,1,c\n', /broken CSV file \(.*line 3/],
    ['a row that is too short', 'text,label\na\n', /broken CSV file \(.*line 2/],
    ['a quote that does not end', 'text,label\n"a,1\n', /broken CSV file \(.*[Qq]uote/],
    ['an empty label', 'text,label\na,1\nb,\n', /rows.csv:3: expected a class: .* in "label", found ""/],
  ])('is refused with %s, naming file and line', async (_, content, message) => {
    await expect(readTable([fileOf(content)], NAMES)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
  });

  it('is refused in another encoding than UTF-8', async () => {
    const path = fileOf('');
    writeFileSync(path, Buffer.from('text,label\nna\xefve,1\n', 'latin1'));
    await expect(readTable([path], NAMES)).rejects.toMatchObject({
      code: 'FORMAT',
      message: `${path}: expected text in UTF-8, found another encoding: save the file as UTF-8`,
    });
  });

  it('is refused where a quote takes in more than any text', async () => {
    const path = fileOf(`text,label\n"${'a,1\n'.repeat(MOST_LINE_BYTES / 4 + 10)}`);
    await expect(readTable([path], NAMES)).rejects.toThrow(/broken CSV file \(.*[Mm]ax/);
  });

  it.skipIf(process.platform !== 'linux')('that is refused in its midst is closed', async () => {
    const path = fileOf(`text,label\na,\n${'many,rows\n'.repeat(1_000_000)}`);
    await expect(readTable([path], NAMES)).rejects.toMatchObject({ code: 'FORMAT' });
    const open = () =>
      readdirSync('/proc/self/fd').filter((name) => {
        try {
          return readlinkSync(`/proc/self/fd/${name}`) === path;
        } catch {
          return false; // that of the listing itself
        }
      });
    await expect.poll(open).toEqual([]);
  });

  it('that is not there is an IO error, and of an unknown kind one of usage', async () => {
    await expect(readTable(['/nowhere/rows.csv'], NAMES)).rejects.toMatchObject({ code: 'IO' });
    await expect(readTable(['/nowhere/rows.xlsx'], NAMES)).rejects.toMatchObject({
      code: 'USAGE',
      message: '/nowhere/rows.xlsx: expected a file that ends in .parquet, .jsonl, .ndjson, .json, .csv, .tsv',
    });
  });
});

describe('columns', () => {
  it('may be absent where they are optional', async () => {
    const paths = [fileOf('{"a": "x"}\n{"a": "y", "b": null}\n{"a": "z", "b": "w"}\n', 'r.jsonl'), fileOf('a\nv\n')];
    const table = await readTable(paths, { texts: ['a'], optionalTexts: ['b'] });
    expect(table.rows).toBe(4);
    expect([0, 1, 2, 3].map((row) => table.texts[1]!.get(row))).toEqual(['', '', 'w', '']);
    expect(table.labels).toHaveLength(0);
  });

  it('of too many different labels are no classes', async () => {
    const path = fileOf(`text,label\n${Array.from({ length: 10_001 }, (_, i) => `a,n${i}`).join('\n')}\n`);
    await expect(readTable([path], NAMES)).rejects.toThrow(
      /column "label" holds more than 10000 different labels: is it the column of classes\?/,
    );
  });
});
