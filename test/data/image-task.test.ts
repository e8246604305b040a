import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { decodeImage } from '../../src/data/decode-image.js';
import { makeImageTask } from '../../src/data/image-task.js';
import { readTable } from '../../src/data/read-table.js';
import { readParquet } from '../../src/data/parquet.js';
import type { ImageInput } from '../../src/data/preprocessor.js';
import type { ScenarioTask } from '../../src/data/scenario.js';
import { preprocessImages } from '../../src/engine/index.js';
import type { PackedImages } from '../../src/engine/types.js';
import { difference } from '../support/compare.js';
import { imageFixture, temporaryFolder } from '../support/files.js';
import { bytes, readReference } from '../support/safetensors.js';

vi.mock('../../src/data/decode-image.js', { spy: true });

const COLUMNS = { image: 'img', label: 'label' };
const INPUT: ImageInput = {
  exactSize: false,
  preprocess: { height: 16, width: 16, resample: 'bilinear', rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] },
};
const rowsOf = (...rows: number[]) => Int32Array.from(rows);
/** Picture k of pictures.parquet is of one colour. */
const colour = (k: number) => [20 * k, 255 - 20 * k, 7];

async function pictures(input = INPUT, name = 'pictures.parquet'): Promise<ScenarioTask<PackedImages>> {
  const table = await readParquet([imageFixture(name)], COLUMNS);
  return makeImageTask({ name: 'colours', numLabels: 10, train: table, evaluation: table, input });
}

describe('an image task', () => {
  it('gives the rows asked for in their order, repeated ones too', async () => {
    const task = await pictures();
    const images = await task.trainExamples(rowsOf(11, 2, 11, 0));
    expect([...images.labels]).toEqual([1, 2, 1, 0]);
    expect([...images.sizes]).toEqual([6, 8, 6, 8, 6, 8, 6, 8]);
    const colours = [11, 2, 11, 0].map((k) => Array.from({ length: 6 * 8 }, () => colour(k)).flat());
    expect([...images.pixels]).toEqual(colours.flat());
    expect(images.preprocess).toBe(INPUT.preprocess);
  });

  it('gives the first evaluation rows, and knows the sizes of its splits', async () => {
    const task = await pictures();
    expect([...(await task.evalExamples(3)).labels]).toEqual([0, 1, 2]);
    expect((await task.evalExamples(1_000)).labels).toHaveLength(12);
    expect(task).toMatchObject({ trainRows: 12, evalRows: 12, majorityFloor: 2 / 12, numLabels: 10 });
  });

  it('decodes a training row once, however often it is asked for', async () => {
    const task = await pictures();
    vi.mocked(decodeImage).mockClear();
    for (let round = 0; round < 3; round++) await task.trainExamples(rowsOf(4, 5, 4));
    expect(decodeImage).toHaveBeenCalledTimes(2);
  });

  it('refuses a row that does not exist, and a label that is no class', async () => {
    const task = await pictures();
    await expect(task.trainExamples(rowsOf(12))).rejects.toMatchObject({ code: 'SHAPE' });
    const table = await readParquet([imageFixture('pictures.parquet')], COLUMNS);
    const few = { name: 'colours', numLabels: 9, train: table, evaluation: table, input: INPUT };
    expect(() => makeImageTask(few)).toThrow(/pictures.parquet: row 9 has label 9; task colours has the labels 0 to 8/);
  });

  it('names file and row of an image that is broken, and goes on without it', async () => {
    const task = await pictures(INPUT, 'pictures-broken.parquet');
    const failure = {
      code: 'FORMAT',
      message: expect.stringMatching(/pictures-broken.parquet: row 7: the PNG image cannot be decoded \(/) as string,
    };
    await expect(task.trainExamples(rowsOf(6, 7, 8))).rejects.toMatchObject(failure);
    expect((await task.trainExamples(rowsOf(6, 8))).labels).toHaveLength(2);
  });

  it('names file, row and column where there is no image', async () => {
    await expect(readParquet([imageFixture('pictures-null.parquet')], COLUMNS)).rejects.toThrow(
      /pictures-null.parquet: row 7, column "img": expected an encoded image or the path of one, found nothing/,
    );
  });

  it('calls a file cut short so', async () => {
    const path = join(temporaryFolder(), 'cut.parquet');
    writeFileSync(path, readFileSync(imageFixture('pictures.parquet')).subarray(0, 2_000));
    await expect(readParquet([path], COLUMNS)).rejects.toThrow(/cut.parquet: .* it is cut off; download or copy it/);
  });

  it('stops decoding when it is asked to', async () => {
    const table = await readParquet([imageFixture('pictures.parquet')], COLUMNS);
    const controller = new AbortController();
    const tables = { train: table, evaluation: table };
    const task = makeImageTask({ name: 'c', numLabels: 10, ...tables, input: INPUT, signal: controller.signal });
    const decoding = task.trainExamples(Int32Array.from({ length: 12 }, (_, row) => row));
    controller.abort();
    await expect(decoding).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(task.evalExamples(1)).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('refuses images of another size where the model does not resize', async () => {
    const task = await pictures({ ...INPUT, exactSize: true });
    await expect(task.trainExamples(rowsOf(3))).rejects.toThrow(/row 3: the image is 6 x 8, the model reads 16 x 16/);
  });
});

describe('images that are files', () => {
  it('are read from paths relative to the data file when they are asked for', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'rows.jsonl');
    copyFileSync(imageFixture('rgb.png'), join(folder, 'a.png'));
    writeFileSync(path, '{"img": "a.png", "label": 0}\n{"img": "gone.png", "label": 1}\n');
    const table = await readTable([path], COLUMNS);
    const task = makeImageTask({ name: 'files', numLabels: 2, train: table, evaluation: table, input: INPUT });
    const { sizes } = await task.evalExamples(1);
    expect([...sizes]).toEqual([16, 16]);
    await expect(task.trainExamples(rowsOf(1))).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining(join(folder, 'gone.png')) as string,
    });
  });
});

describe('an image larger than the input', () => {
  it.each([
    ['resized', { height: 10, width: 9 }],
    ['resized and cut', { height: 8, width: 6, resize: { height: 10, width: 9 } }],
  ])('is kept %s, and the engine makes the same values of it', async (_, size) => {
    const folder = temporaryFolder();
    copyFileSync(imageFixture('rgb.png'), join(folder, 'a.png'));
    writeFileSync(join(folder, 'rows.jsonl'), '{"img": "a.png", "label": 0}\n');
    const table = await readTable([join(folder, 'rows.jsonl')], COLUMNS);
    const preprocess = {
      ...size,
      resample: 'bicubic',
      rescaleFactor: 1 / 255,
      mean: [0.4, 0.5, 0.6],
      std: [0.2, 0.3, 0.4],
    } as const;
    const input = { exactSize: false, preprocess };
    const task = makeImageTask({ name: 'large', numLabels: 2, train: table, evaluation: table, input });
    const small = await task.trainExamples(rowsOf(0));
    expect([...small.sizes]).toEqual([10, 9]);
    const whole = bytes(readReference(imageFixture('decoded.safetensors')), 'rgb.png');
    const expected = await preprocessImages({ pixels: whole.data, sizes: Int32Array.of(24, 20), preprocess });
    expect(difference(await preprocessImages(small), expected).max).toBe(0);
  });
});
