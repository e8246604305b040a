import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { readJsonl } from '../../src/data/jsonl.js';
import { MOST_LINE_BYTES } from '../../src/data/lines.js';
import { temporaryFolder } from '../support/files.js';

const choose = (first: Readonly<Record<string, unknown>>) => ({
  texts: 'text2' in first ? ['text', 'text2'] : ['text'],
  label: 'label',
});

function fileOf(...lines: string[]): string {
  const path = join(temporaryFolder(), 'rows.jsonl');
  writeFileSync(path, lines.join('\n'));
  return path;
}

describe('readJsonl', () => {
  it('reads texts and labels, passing over empty lines', async () => {
    const path = fileOf('{"text": "größe 🙂", "label": 1}', '', '{"label": 0, "text": ""}', '');
    const table = await readJsonl([path], choose);
    expect([table.texts[0]?.get(0), table.texts[0]?.get(1)]).toEqual(['größe 🙂', '']);
    expect([...table.labels]).toEqual([1, 0]);
  });

  it('takes pairs where the first row has a second text', async () => {
    const table = await readJsonl([fileOf('{"text": "a", "text2": "b", "label": 0}')], choose);
    expect(table.texts.map((column) => column.get(0))).toEqual(['a', 'b']);
  });

  it('ends lines at LF or CR LF only: U+2028 and U+2029 may stand in a text', async () => {
    const path = fileOf('{"text": "a\u2028b\u2029c", "label": 0}\r', '{"text": "d", "label": 1}\r', '');
    const table = await readJsonl([path], choose);
    expect([table.texts[0]?.get(0), table.texts[0]?.get(1)]).toEqual(['a\u2028b\u2029c', 'd']);
  });

  it('reads lines that span the pieces in which a file is read', async () => {
    const texts = [100_000, 0, 70_000, 1].map((length) => 'é'.repeat(length));
    const table = await readJsonl([fileOf(...texts.map((text) => JSON.stringify({ text, label: 0 })))], choose);
    expect(texts.map((_, row) => table.texts[0]?.get(row))).toEqual(texts);
  });

  it.each([
    ['{"text": "a", "label": 1', /:2: expected a JSON object \(SyntaxError/],
    ['[1]', /:2: expected a JSON object, found \[1\]/],
    ['{"text": 3, "label": 1}', /:2: expected a text in "text", found 3/],
    ['{"text": "a", "label": "1"}', /:2: expected a class number in "label", found "1"/],
    ['{"label": 1, "body": "x"}', /:2: expected a text in "text", found only label, body/],
  ])('refuses the line %s, naming file and line', async (line, message) => {
    const path = fileOf('{"text": "a", "label": 0}', line);
    const failure = { code: 'FORMAT', message: expect.stringMatching(message) as string };
    await expect(readJsonl([path], choose)).rejects.toMatchObject(failure);
  });

  it('tells of nested values by their kind, however deep they are', async () => {
    const path = fileOf(`{"text": ${'['.repeat(50_000)}${']'.repeat(50_000)}, "label": 1}`);
    await expect(readJsonl([path], choose)).rejects.toThrow(/:1: expected a text in "text", found a list/);
  });

  it('takes a byte order mark for none of the text, and CR LF on the last line', async () => {
    const table = await readJsonl([fileOf('\ufeff{"text": "a", "label": 0}\r', '{"text": "b", "label": 1}\r')], choose);
    expect([table.rows, table.texts[0]?.get(1)]).toEqual([2, 'b']);
  });

  it('refuses text that is not UTF-8, naming the line', async () => {
    const path = fileOf();
    writeFileSync(path, Buffer.from('{"text": "a", "label": 0}\n{"text": "na\xefve", "label": 1}\n', 'latin1'));
    await expect(readJsonl([path], choose)).rejects.toMatchObject({
      code: 'FORMAT',
      message: `${path}:2: expected text in UTF-8, found another encoding: save the file as UTF-8`,
    });
  });

  it('reads a line of many megabytes, and refuses one beyond any text', async () => {
    const text = 'x'.repeat(20_000_000);
    const table = await readJsonl([fileOf(JSON.stringify({ text, label: 1 }))], choose);
    expect(table.texts[0]?.get(0).length).toBe(text.length);
    const path = fileOf('{"text": "a", "label": 0}', `{"text": "${'y'.repeat(MOST_LINE_BYTES)}"}`);
    await expect(readJsonl([path], choose)).rejects.toMatchObject({
      code: 'FORMAT',
      message: `${path}:2: expected lines of at most ${MOST_LINE_BYTES} bytes, found more`,
    });
  });

  it('says IO for a file that is not there', async () => {
    await expect(readJsonl(['/nowhere/rows.jsonl'], choose)).rejects.toMatchObject({ code: 'IO' });
  });

  it('keeps rows outside the JavaScript heap', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const rows = 20_000;
    const text = 'a sentence of some sixty letters, as they are found in such sets';
    const path = fileOf(
      ...Array.from({ length: rows }, (_, row) => JSON.stringify({ text: `${row} ${text}`, label: 0 })),
    );
    collect();
    const before = process.memoryUsage().heapUsed;
    const table = await readJsonl([path], choose);
    collect();
    const grown = process.memoryUsage().heapUsed - before;
    expect(table.texts[0]?.get(rows - 1)).toBe(`${rows - 1} ${text}`);
    // The texts alone are 1.4 MB; as JavaScript strings with their array they would take more than 2 MB of heap.
    expect(grown).toBeLessThan(700_000);
  });
});
