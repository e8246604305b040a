import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readParquet } from '../../src/data/parquet.js';
import { checkTable, majorityShare, type Table } from '../../src/data/table.js';
import { numberAt, numbersOf, written } from '../fuzz/thrift-bytes.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const PAIR = { texts: ['sentence1', 'sentence2'], label: 'label' };
const pairs = JSON.parse(readFileSync(dataFixture('pairs.json'), 'utf8')) as {
  sentence1: string[];
  sentence2: string[];
  label: number[];
};

function textsOf(table: Table): string[][] {
  return table.texts.map((column) => Array.from({ length: table.rows }, (_, row) => column.get(row)));
}

describe('readParquet', () => {
  it.each([
    'pairs.parquet',
    'pairs-plain-v2.parquet',
    'pairs-zstd.parquet',
    'pairs-gzip.parquet',
    'pairs-brotli.parquet',
    'pairs-lz4.parquet',
    'pairs-required.parquet',
  ])('reads the same rows from %s, whatever its compression, pages and row groups', async (name) => {
    const table = await readParquet([dataFixture(name)], PAIR);
    expect(textsOf(table)).toEqual([pairs.sentence1, pairs.sentence2]);
    expect([...table.labels]).toEqual(pairs.label);
  });

  it('reads several files one after another', async () => {
    const paths = [dataFixture('pairs.parquet'), dataFixture('pairs-zstd.parquet')];
    const table = await readParquet(paths, PAIR);
    expect(textsOf(table)[0]).toEqual([...pairs.sentence1, ...pairs.sentence1]);
    expect(table.sources).toEqual(paths.map((path) => ({ path, rows: pairs.label.length })));
  });

  it('takes the text columns in the order given', async () => {
    const swapped = await readParquet([dataFixture('pairs.parquet')], { texts: ['sentence2'], label: 'idx' });
    expect(textsOf(swapped)).toEqual([pairs.sentence2]);
    expect([...swapped.labels]).toEqual(pairs.label.map((_, row) => row));
  });

  it('names the columns found where one is missing', async () => {
    const path = dataFixture('pairs.parquet');
    await expect(readParquet([path], { texts: ['question'], label: 'label' })).rejects.toMatchObject({
      code: 'FORMAT',
      message: `${path}: no column "question"; the file has "sentence1", "sentence2", "label", "idx"`,
    });
  });

  it.each([
    ['labels-null.parquet', /row 1, column "label": expected a class number, found nothing/],
    ['labels-float.parquet', /row 0, column "label": expected a class number, found 0.5/],
    ['text-null.parquet', /row 1, column "sentence1": expected a text, found nothing/],
    ['text-list.parquet', /column "sentence1": expected a text in each row, found lists/],
  ])('refuses %s, naming row and column', async (name, message) => {
    const failure = { code: 'FORMAT', message: expect.stringMatching(message) as string };
    await expect(readParquet([dataFixture(name)], PAIR)).rejects.toMatchObject(failure);
  });

  it('says IO for a file that is not there', async () => {
    await expect(readParquet([dataFixture('absent.parquet')], PAIR)).rejects.toMatchObject({ code: 'IO' });
  });

  it.each(['pairs.parquet', 'pairs-zstd.parquet', 'pairs-required.parquet'])(
    'calls %s broken, cut off at every byte, and names it',
    async (name) => {
      const path = join(temporaryFolder(), 'cut.parquet');
      const whole = readFileSync(dataFixture(name));
      writeFileSync(path, whole.subarray(0, -1));
      await expect(readParquet([path], PAIR)).rejects.toThrow(/it is cut off; download or copy it again/);
      for (let length = whole.length - 1; length >= 0; length -= 1) {
        truncateSync(path, length);
        const failure = { code: 'FORMAT', message: expect.stringMatching(/^\S+cut\.parquet: [^\n]+$/) as string };
        await expect(readParquet([path], PAIR), `cut at ${length}`).rejects.toMatchObject(failure);
      }
    },
  );

  it('fails in words or reads on where bytes are damaged, but never otherwise', async () => {
    const path = join(temporaryFolder(), 'damaged.parquet');
    const original = readFileSync(dataFixture('pairs.parquet'));
    let refused = 0;
    for (let place = 0; place < original.length; place += 13) {
      const damaged = Buffer.from(original);
      damaged[place] = (damaged[place] ?? 0) ^ 0xff;
      writeFileSync(path, damaged);
      const outcome = await readParquet([path], PAIR).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) continue;
      refused += 1;
      expect(outcome, `byte ${place}: ${outcome.stack ?? ''}`).toMatchObject({ name: 'FltacError', code: 'FORMAT' });
    }
    expect(refused).toBeGreaterThan(20);
  });

  it.each([
    [
      'bomb-dictionary.parquet',
      /its 1114 bytes expand to more than \d+ \(200 times and 64 MiB\): a decompression bomb/,
    ],
    [
      'bomb-page.parquet',
      /column "sentence1" of row group 0 cannot be read \(a page of 3000000\d\d bytes; at most 268435456/,
    ],
    ['delta-texts.parquet', /texts are in DELTA_BYTE_ARRAY encoding, which is not read: write them plain/],
  ])('refuses %s, which stands for far more than it is, before memory is taken for it', async (name, message) => {
    const before = process.memoryUsage.rss();
    const failure = { code: 'FORMAT', message: expect.stringMatching(message) as string };
    await expect(readParquet([dataFixture(name)], PAIR)).rejects.toMatchObject(failure);
    expect(process.memoryUsage.rss() - before).toBeLessThan(400e6);
  });

  it('refuses a run of more values than its page has, which the decoder would write out', async () => {
    const path = join(temporaryFolder(), 'run.parquet');
    const bytes = readFileSync(dataFixture('pairs-plain-v2.parquet'));
    const levels = numbersOf(bytes, 4).end;
    // A run of 23 levels that says 63; with more bytes it could say two billion.
    expect(bytes[levels]).toBe(23 << 1);
    bytes[levels] = 63 << 1;
    writeFileSync(path, bytes);
    await expect(readParquet([path], PAIR)).rejects.toThrow(/\(a run of 63 values in a page with 23 left\)/);
  });

  it('refuses more rows in a group than can be decoded, and a footer that is no footer', async () => {
    const path = join(temporaryFolder(), 'rows.parquet');
    const bytes = readFileSync(dataFixture('pairs-required.parquet'));
    const length = bytes.readUInt32LE(bytes.length - 8);
    const start = bytes.length - 8 - length;
    let footer = Buffer.from(bytes.subarray(start, -8));
    // Every count of 23 (zig-zag 46) that stands for rows or values.
    for (;;) {
      const place = numbersOf(footer, 0).places.find((at) => at.signed && numberAt(footer, at) === 23);
      if (!place) break;
      const large = written(10_000_001, true);
      footer = Buffer.concat([footer.subarray(0, place.start), large, footer.subarray(place.end)]);
    }
    const tail = Buffer.alloc(8, 'PAR1');
    tail.writeUInt32LE(footer.length);
    writeFileSync(path, Buffer.concat([bytes.subarray(0, start), footer, tail.fill('PAR1', 4)]));
    await expect(readParquet([path], PAIR)).rejects.toThrow(
      /row group 0 has 10000001 rows; at most 10000000 are taken: write smaller groups/,
    );
    writeFileSync(path, Buffer.concat([bytes.subarray(0, -8), Buffer.from([0, 0, 0, 127]), Buffer.from('PAR1')]));
    await expect(readParquet([path], PAIR)).rejects.toThrow(
      /expected a footer of at most 67108864 bytes, found one of/,
    );
  });

  it('refuses texts that are not UTF-8, naming the row', async () => {
    const path = join(temporaryFolder(), 'latin.parquet');
    const bytes = readFileSync(dataFixture('pairs-plain-v2.parquet'));
    const at = bytes.indexOf('boat');
    bytes[at] = 0xef;
    writeFileSync(path, bytes);
    await expect(readParquet([path], PAIR)).rejects.toThrow(
      /row \d+, column "sentence1": expected a text, found bytes that are not UTF-8/,
    );
  });

  it('says what a file is that is no Parquet file', async () => {
    const path = join(temporaryFolder(), 'page.parquet');
    writeFileSync(path, '<html>sign in to continue</html>');
    await expect(readParquet([path], PAIR)).rejects.toThrow(
      `${path}: expected a Parquet file, but its first 4 bytes are "<htm"`,
    );
  });
});

describe('checkTable', () => {
  it('names file and row of an unlabelled row', async () => {
    const table = await readParquet([dataFixture('pairs.parquet'), dataFixture('labels-unknown.parquet')], PAIR);
    expect(() => checkTable(table, 'rte', 2)).toThrow(
      `${dataFixture('labels-unknown.parquet')}: row 1 has label -1 (-1 marks unlabelled rows, as in GLUE test splits); ` +
        'task rte has the labels 0 to 1',
    );
  });

  it('refuses a label beyond the classes', async () => {
    const table = await readParquet([dataFixture('pairs.parquet')], { texts: ['sentence1'], label: 'idx' });
    expect(() => checkTable(table, 'rte', 2)).toThrow('row 2 has label 2; task rte has the labels 0 to 1');
  });

  it('refuses a split without rows', async () => {
    const table = await readParquet([dataFixture('empty.parquet')], PAIR);
    expect(() => checkTable(table, 'rte', 2)).toThrow(`task rte: ${dataFixture('empty.parquet')} holds no rows`);
  });
});

describe('majorityShare', () => {
  it('is the share of the most frequent label', () => {
    expect(majorityShare(Int32Array.from([1, 0, 1, 1]))).toBe(0.75);
  });
});

describeWithShared('the GLUE files', () => {
  const files = [
    ['sst2', ['sentence'], 67349, 872, 0.509],
    ['mrpc', ['sentence1', 'sentence2'], 3668, 408, 0.684],
    ['rte', ['sentence1', 'sentence2'], 2490, 277, 0.527],
  ] as const;

  it.each(files)(
    '%s has the published numbers of rows and majority floor',
    async (task, texts, train, validation, floor) => {
      const path = (split: string) => sharedPath(`hub/datasets/nyu-mll/glue/${task}/${split}-00000-of-00001.parquet`);
      const trained = await readParquet([path('train')], { texts, label: 'label' });
      const evaluated = await readParquet([path('validation')], { texts, label: 'label' });
      expect([trained.rows, evaluated.rows]).toEqual([train, validation]);
      expect(Math.round(majorityShare(evaluated.labels) * 1000) / 1000).toBe(floor);
      for (const table of [trained, evaluated]) checkTable(table, task, 2);
    },
  );

  it('gives the texts of known rows', async () => {
    const golden = JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as {
      pairs: { task: string; row: number; first: string; second: string }[];
      singles: { from: string; text: string }[];
    };
    const mrpc = await readParquet([sharedPath('hub/datasets/nyu-mll/glue/mrpc/train-00000-of-00001.parquet')], PAIR);
    const known = golden.pairs.filter((pair) => pair.task === 'mrpc');
    expect(known.length).toBeGreaterThan(0);
    for (const { row, first, second } of known) {
      expect(mrpc.texts.map((column) => column.get(row))).toEqual([first, second]);
    }
    const columns = { texts: ['sentence'], label: 'label' };
    const sst2 = await readParquet(
      [sharedPath('hub/datasets/nyu-mll/glue/sst2/train-00000-of-00001.parquet')],
      columns,
    );
    for (const { from, text } of golden.singles.filter((single) => single.from.startsWith('sst2:'))) {
      expect(sst2.texts[0]?.get(Number(from.slice('sst2:'.length)))).toBe(text);
    }
  });
});
