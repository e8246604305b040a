import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AdapterBank,
  Backbone,
  kmeans,
  kmeansBatch,
  squaredDistances,
  writeSafetensors,
} from '../../src/engine/index.js';
import { temporaryFolder } from '../support/files.js';

// What a caller without types may pass.
const any = kmeans as (...args: unknown[]) => ReturnType<typeof kmeans>;
const values = Float32Array.from({ length: 12 }, (_, i) => (i % 5) * i);
const shape = { rows: 4, columns: 3, k: 2 };
const usage = (message: RegExp) => ({
  name: 'FltacError',
  code: 'USAGE',
  message: expect.stringMatching(message) as string,
});

describe('data that K-means does not take', () => {
  it.each([
    [undefined, /^data must be a Float32Array, an AdapterBank, .*; found undefined$/],
    [null, /found null$/],
    [Float64Array.from(values), /found a Float64Array: pass Float32Array\.from\(values\)/],
    [Buffer.from(values.buffer), /found a Buffer: pass a Float32Array over its bytes/],
    [new SharedArrayBuffer(48), /found a SharedArrayBuffer: pass new Float32Array\(buffer\)/],
    [values.buffer, /found an ArrayBuffer/],
    [[...values], /found a plain array of numbers: pass Float32Array\.from/],
    [
      [
        [1, 2],
        [3, 4],
      ],
      /found an array of arrays: pass Float32Array\.from\(values\.flat\(\)\)/,
    ],
    ['all.safetensors', /found a string: a file is given as \{ file: "all\.safetensors" \}/],
    [{ path: 'all.safetensors' }, /found an object with path/],
    [7, /found a number/],
  ])('%# is told by its kind', async (data, message) => {
    await expect(any(data, shape)).rejects.toMatchObject(usage(message));
    await expect(squaredDistances(data as unknown as Float32Array, { rows: 4, columns: 3 })).rejects.toMatchObject(
      usage(message),
    );
  });

  it.each([
    [
      'all.safetensors',
      /^data\[0\] must be a Float32Array, \{ bank, rows\? \} or .*given as \{ file: "all\.safetensors" \}/,
    ],
    [Float64Array.of(1, 2, 3), /^data\[0\] must be .*found a Float64Array/],
    [{ file: 5 }, /^data\[0\]\.file must be the path of a safetensors file; found a number/],
    [{ file: 'x', tensor: 5 }, /^data\[0\]\.tensor must be a tensor's name/],
    [{ file: 'x', tensors: 'y' }, /unknown key tensors; did you mean tensor\?/],
    [{ bank: {} }, /^data\[0\]\.bank must be an AdapterBank; found an object/],
  ])('in a list is told with its place: %j', async (part, message) => {
    await expect(any([part], { k: 2, columns: 3 })).rejects.toMatchObject(usage(message));
  });

  it('are a list with rows, or an array in it without columns', async () => {
    await expect(any([values], { k: 2, columns: 3, rows: 5 })).rejects.toMatchObject(
      usage(/rows goes with .*leave it out/),
    );
    await expect(any([values], { k: 2 })).rejects.toMatchObject(usage(/columns is needed .* of its 12 values/));
    await expect(any(values, { k: 2, rows: 4 })).rejects.toMatchObject(
      usage(/columns is needed as a number with a Float32Array \(rows, columns\), found undefined/),
    );
    await expect(kmeansBatch([...values] as unknown as Float32Array, { ...shape, batch: 1 })).rejects.toMatchObject(
      usage(/data must be a Float32Array; found a plain array of numbers/),
    );
  });
});

describe('options of K-means', () => {
  it.each([
    [undefined, /options must be an object such as .*found undefined/],
    [5, /found a number/],
    [{ ...shape, k: undefined }, /k must be the number of clusters or "auto", found undefined/],
    [{ ...shape, k: 'many' }, /found "many"/],
    [{ ...shape, n_init: 3 }, /unknown option n_init; did you mean nInit\?/],
    [{ ...shape, kmeans_max_iter: 3 }, /did you mean maxIter\?/],
    [{ ...shape, most_k: 3 }, /did you mean mostK\?/],
    [{ ...shape, n_clusters: 3 }, /did you mean k\?/],
    [{ ...shape, random_state: 3 }, /did you mean seed\?/],
    [{ ...shape, sede: 3 }, /did you mean seed\?/],
    [{ ...shape, verbose: true }, /unknown option verbose; there are k, mostK, nInit/],
    [{ ...shape, batch: 1 }, /unknown option batch/],
    [{ ...shape, signal: {} }, /signal must be the signal of an AbortController/],
  ])('that are none are refused: %j', async (options, message) => {
    await expect(any(values, options)).rejects.toMatchObject(usage(message));
  });

  it('are those of each function', async () => {
    const distances = squaredDistances as (...args: unknown[]) => Promise<unknown>;
    await expect(distances(values, { ...shape })).rejects.toMatchObject(usage(/unknown option k; there are space/));
    expect(await kmeansBatch(values, { ...shape, batch: 1 })).toEqual([await kmeans(values, shape)]);
  });
});

describe('one source alone', () => {
  let backbone: Backbone;
  let bank: AdapterBank;
  beforeAll(async () => {
    backbone = await Backbone.load(fileURLToPath(new URL('../fixtures/small-bert', import.meta.url)));
    const adapter = { rank: 1, loraAlpha: 8, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: false };
    bank = new AdapterBank(backbone, adapter, 4);
    for (let row = 0; row < 4; row++) bank.set(row, new Float32Array(bank.layout.size).fill(row < 2 ? row : 50 + row));
  });
  afterAll(() => {
    bank.dispose();
    backbone.dispose();
  });

  it('is a tensor of a file', async () => {
    const file = join(temporaryFolder(), 'all.safetensors');
    await writeSafetensors(file, new Map([['x', { shape: [4, 3], data: values }]]));
    const expected = await kmeans(values, shape);
    const single = await kmeans({ file, tensor: 'x' }, { k: 2 });
    expect({ ...single, bytesRead: 0 }).toEqual({ ...expected, bytesRead: 0 });
  });

  it('is a bank, or rows of one, and a bank in a list says how long its rows are', async () => {
    const expected = await kmeans(bank, { k: 2 });
    expect(await kmeans({ bank }, { k: 2 })).toEqual(expected);
    expect([...(await kmeans({ bank, rows: Int32Array.of(0, 1, 3) }, { k: 2 })).labels]).toEqual([0, 0, 1]);
    expect(await kmeans([bank.get(0), bank.get(1), { bank, rows: Int32Array.of(2, 3) }], { k: 2 })).toEqual(expected);
    await expect(any(bank, { k: 2, rows: 3 })).rejects.toMatchObject(usage(/rows of a bank must be an Int32Array/));
    await expect(any({ bank, rows: [0, 1] }, { k: 2 })).rejects.toMatchObject(
      usage(/data\.rows of a bank .*found a plain/),
    );
  });

  it("is a PEFT adapter's folder, which stands for its weights", async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'adapter_model.safetensors');
    await writeSafetensors(file, new Map([['x', { shape: [12], data: values }]]));
    const other = join(folder, 'other');
    mkdirSync(other);
    copyFileSync(file, join(other, 'adapter_model.safetensors'));
    const found = await kmeans([{ file: folder }, { file: other }], { k: 1 });
    expect([[...found.labels], found.inertia]).toEqual([[0, 0], 0]);
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    await expect(kmeans([{ file: empty }], { k: 1 })).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/empty is a folder without adapter_model\.safetensors/) as string,
    });
  });
});
