import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TextColumnBuilder, type Table } from '../../src/data/table.js';
import { TextTokenizer, TokenizedTable, longestFirst } from '../../src/data/tokenize.js';
import { dataFixture, temporaryFolder } from '../support/files.js';
import { describeWithShared, haveShared, sharedPath } from '../support/shared.js';

const FOLDER = dataFixture('tokenizer');
const ROBERTA = { model_type: 'roberta', max_position_embeddings: 40, type_vocab_size: 1 };

interface Case {
  max_len: number;
  texts: string[];
  ids: number[];
  type_ids?: number[];
}
const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as { cases: Case[] };

function tableOf(rows: readonly (readonly string[])[]): Table {
  const columns = (rows[0] ?? []).map((_, column) => {
    const builder = new TextColumnBuilder();
    for (const row of rows) builder.append(row[column] ?? '');
    return builder.finish();
  });
  const labels = Int32Array.from(rows, (_, row) => row % 2);
  return { rows: rows.length, texts: columns, labels, sources: [{ path: 'rows', rows: rows.length }] };
}

describe('longestFirst', () => {
  it('leaves what fits', () => {
    expect(longestFirst(3, 4, 7)).toEqual([3, 4]);
  });

  it('cuts the longer text first, then both to halves, the odd token to the longer or else the second', () => {
    expect(longestFirst(20, 3, 13)).toEqual([10, 3]);
    expect(longestFirst(3, 20, 13)).toEqual([3, 10]);
    expect(longestFirst(20, 19, 13)).toEqual([7, 6]);
    expect(longestFirst(19, 20, 13)).toEqual([6, 7]);
    expect(longestFirst(20, 20, 13)).toEqual([6, 7]);
  });
});

describe('TextTokenizer', () => {
  it("gives the ids and segment ids of Python's tokenizers for single texts and pairs, cut at any length", async () => {
    for (const { max_len, texts, ids, type_ids } of expected.cases) {
      // 4 leaves a pair of this tokenizer room for one token; single texts are cut at 4 as well
      const tokenizer = await TextTokenizer.open(FOLDER, max_len);
      const [row] = await tokenizer.encode([texts]);
      const place = `${JSON.stringify(texts)} at ${max_len}`;
      expect(row?.ids, place).toEqual(ids);
      expect(row?.typeIds, place).toEqual(type_ids ?? ids.map(() => 0));
    }
    expect(expected.cases.length).toBeGreaterThan(300);
  });

  it.each(['tokenizer.json', 'config.json'])('names %s, cut off at every byte, as broken', async (name) => {
    const folder = temporaryFolder();
    cpSync(FOLDER, folder, { recursive: true });
    // Without the white space, which no value ends with.
    const whole = JSON.stringify(JSON.parse(readFileSync(join(FOLDER, name), 'utf8')));
    for (let length = 0; length < whole.length; length += 1) {
      writeFileSync(join(folder, name), whole.slice(0, length));
      const failure = { code: 'FORMAT', message: expect.stringMatching(/^[^\n]+\.json: [^\n]+$/) as string };
      await expect(TextTokenizer.open(folder, 16), `cut at ${length}`).rejects.toMatchObject(failure);
    }
    writeFileSync(join(folder, name), whole);
    await expect(TextTokenizer.open(folder, 16)).resolves.toBeDefined();
  });

  it.each([
    ['a template', (template: object) => template],
    ['a template in a sequence', (template: object) => ({ type: 'Sequence', processors: [template] })],
  ])('refuses %s whose special token is not described, at which the library would end the process', async (_, wrap) => {
    const folder = temporaryFolder();
    cpSync(FOLDER, folder, { recursive: true });
    const whole = JSON.parse(readFileSync(join(FOLDER, 'tokenizer.json'), 'utf8')) as {
      post_processor: { special_tokens: Record<string, unknown> };
    };
    delete whole.post_processor.special_tokens['[SEP]'];
    writeFileSync(
      join(folder, 'tokenizer.json'),
      JSON.stringify({ ...whole, post_processor: wrap(whole.post_processor) }),
    );
    await expect(TextTokenizer.open(folder, 16)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(
        /tokenizer\.json: its post_processor uses the special token "\[SEP\]" without/,
      ) as string,
    });
  });

  it('refuses a max_len without room for a token or beyond the positions of the model', async () => {
    await expect(TextTokenizer.open(FOLDER, 3)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(TextTokenizer.open(FOLDER, 41)).rejects.toThrow(/max_len is 41, the model in .* has 40 positions/);
  });

  it("counts RoBERTa's positions from behind its padding id", async () => {
    const folder = temporaryFolder();
    cpSync(FOLDER, folder, { recursive: true });
    const config = (more: object) =>
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...ROBERTA, ...more }));
    config({});
    await expect(TextTokenizer.open(folder, 39)).rejects.toThrow(/max_len is 39, the model in .* has 38 positions/);
    expect((await TextTokenizer.open(folder, 38)).maxLen).toBe(38);
    config({ pad_token_id: 0 });
    expect((await TextTokenizer.open(folder, 39)).maxLen).toBe(39);
  });

  it('says which file is missing or broken', async () => {
    const folder = join(temporaryFolder(), 'model');
    cpSync(FOLDER, folder, { recursive: true });
    writeFileSync(join(folder, 'tokenizer.json'), '{"version": "1.0"');
    await expect(TextTokenizer.open(folder, 16)).rejects.toMatchObject({ code: 'FORMAT' });
    rmSync(join(folder, 'tokenizer.json'));
    await expect(TextTokenizer.open(folder, 16)).rejects.toThrow(
      /the model needs .*tokenizer.json, which cannot be read/,
    );
    writeFileSync(join(folder, 'config.json'), '[]');
    await expect(TextTokenizer.open(folder, 16)).rejects.toMatchObject({ code: 'FORMAT' });
  });

  it('leaves segment ids out where the model has none', async () => {
    const folder = join(temporaryFolder(), 'model');
    mkdirSync(folder);
    cpSync(join(FOLDER, 'tokenizer.json'), join(folder, 'tokenizer.json'));
    writeFileSync(join(folder, 'config.json'), '{"model_type": "distilbert", "max_position_embeddings": 512}');
    const table = new TokenizedTable(await TextTokenizer.open(folder, 16), tableOf([['a boat', 'sings']]));
    expect(Object.keys(await table.sequences(Int32Array.of(0)))).toEqual(['ids', 'offsets', 'labels']);
  });
});

describe('TokenizedTable', () => {
  const rows = expected.cases.filter((one) => one.max_len === 16 && one.texts.length === 2);

  it('packs rows in the order asked for, repeated ones too, with their labels', async () => {
    const table = new TokenizedTable(await TextTokenizer.open(FOLDER, 16), tableOf(rows.map((row) => row.texts)));
    const order = Int32Array.of(5, 0, 5, 3);
    const packed = await table.sequences(order);
    expect(packed.labels).toEqual(Int32Array.of(1, 0, 1, 1));
    expect(packed.offsets).toHaveLength(5);
    for (const [index, row] of order.entries()) {
      const range = [packed.offsets[index]!, packed.offsets[index + 1]!] as const;
      expect([...packed.ids.slice(...range)]).toEqual(rows[row]?.ids);
      expect([...packed.typeIds!.slice(...range)]).toEqual(rows[row]?.type_ids);
    }
  });

  it('gives the same from its cache, also for calls that overlap', async () => {
    const table = new TokenizedTable(await TextTokenizer.open(FOLDER, 16), tableOf(rows.map((row) => row.texts)));
    const all = Int32Array.from(rows, (_, row) => row);
    const [one, two] = await Promise.all([table.sequences(all), table.sequences(all.toReversed())]);
    expect(await table.sequences(all)).toEqual(one);
    expect(await table.sequences(all.toReversed())).toEqual(two);
  });

  it('gives no sequences for no rows, and refuses rows that do not exist', async () => {
    const table = new TokenizedTable(await TextTokenizer.open(FOLDER, 16), tableOf([['a', 'boat']]));
    expect((await table.sequences(new Int32Array())).offsets).toEqual(Int32Array.of(0));
    await expect(table.sequences(Int32Array.of(0, 1))).rejects.toMatchObject({ code: 'SHAPE' });
    await expect(table.sequences(Int32Array.of(-1))).rejects.toMatchObject({ code: 'SHAPE' });
  });
});

interface Golden {
  input_ids: number[];
  token_type_ids: number[];
}
type GoldenRow = Record<'minilm' | 'tiny_bert', Record<'max128' | 'max16', Golden>>;

async function checkGolden(key: 'minilm' | 'tiny_bert', folder: string): Promise<void> {
  const golden = JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as {
    pairs: (GoldenRow & { first: string; second: string })[];
    singles: (GoldenRow & { text: string })[];
  };
  const rows = [
    ...golden.pairs.map((pair) => ({ texts: [pair.first, pair.second], want: pair[key] })),
    ...golden.singles.map((single) => ({ texts: [single.text], want: single[key] })),
  ];
  expect(rows).toHaveLength(53);
  for (const maxLen of [128, 16] as const) {
    const encoded = await (await TextTokenizer.open(folder, maxLen)).encode(rows.map((row) => row.texts));
    for (const [index, { texts, want }] of rows.entries()) {
      const { input_ids, token_type_ids } = want[`max${maxLen}`];
      expect(encoded[index], JSON.stringify(texts)).toEqual({ ids: input_ids, typeIds: token_type_ids });
    }
  }
}

describeWithShared('tokenize.json', () => {
  it('is met by tiny-bert in every pair and single text', async () => {
    await checkGolden('tiny_bert', sharedPath('hub/models/fltac-test/tiny-bert'));
  });
});

const minilm = process.env['FLTAC_MINILM'];
describe.runIf(haveShared && minilm)('tokenize.json (needs FLTAC_MINILM, the folder of all-MiniLM-L6-v2)', () => {
  it('is met by MiniLM in every pair and single text', async () => {
    await checkGolden('minilm', minilm ?? '');
  });
});
