import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AdapterBank,
  Backbone,
  buildInfo,
  kmeans,
  kmeansBatch,
  machineRates,
  squaredDistances,
  writeSafetensors,
} from '../../src/engine/index.js';
import type { AdapterLayout, AdapterSpec, KmeansResult } from '../../src/engine/index.js';
import { adjustedRandIndex } from '../../src/federation/scoring.js';
import { Generator } from '../../src/numpy/index.js';
import { temporaryFolder } from '../support/files.js';

interface Problem {
  data: Float32Array;
  rows: number;
  columns: number;
  /** the blob of each row */
  truth: number[];
}

/** Rows dealt to `groups` blobs of unit spread in turn, `distance` apart in every column. */
function blobs(seed: number, rows: number, columns: number, groups: number, distance: number): Problem {
  const random = new Generator(seed);
  const truth = Array.from({ length: rows }, (_, row) => row % groups);
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) {
    data[i] = distance * truth[Math.floor(i / columns)]! + random.standardNormal();
  }
  return { data, rows, columns, truth };
}

const problems = fc
  .record({
    seed: fc.nat(),
    rows: fc.integer({ min: 2, max: 60 }),
    columns: fc.integer({ min: 1, max: 40 }),
    groups: fc.integer({ min: 1, max: 6 }),
    distance: fc.double({ min: 0, max: 8, noNaN: true }),
  })
  .map(({ seed, rows, columns, groups, distance }) => blobs(seed, rows, columns, groups, distance));

const paths = fc.constantFrom('gram' as const, 'fused' as const);

function means({ data, columns }: Problem, labels: Int32Array, k: number): Float64Array[] {
  return Array.from({ length: k }, (_, cluster) => {
    const mean = new Float64Array(columns);
    const members = [...labels.keys()].filter((row) => labels[row] === cluster);
    for (const row of members) mean.forEach((_, c) => (mean[c]! += data[row * columns + c]! / members.length));
    return mean;
  });
}

function squared({ data, columns }: Problem, row: number, centre: Float64Array): number {
  return centre.reduce((sum, value, c) => sum + (data[row * columns + c]! - value) ** 2, 0);
}

function inertiaOf(problem: Problem, labels: Int32Array, k: number): number {
  const centres = means(problem, labels, k);
  return labels.reduce((sum, label, row) => sum + squared(problem, row, centres[label]!), 0);
}

const names = (labels: Int32Array) => [...labels].map(String);

describe('K-means on any data', () => {
  it('gives a clustering that no row would leave for a nearer mean, with its exact inertia', async () => {
    const clusters = fc.integer({ min: 1, max: 8 });
    await fc.assert(
      fc.asyncProperty(problems, clusters, paths, fc.nat(), async (problem, k, path, seed) => {
        const { data, rows, columns } = problem;
        const result = await kmeans(data, { rows, columns, k, path, seed, tol: 0, nInit: 2 });
        const centres = means(problem, result.labels, k);
        const total = inertiaOf(problem, new Int32Array(rows), 1);
        expect(Math.abs(result.inertia - inertiaOf(problem, result.labels, k))).toBeLessThanOrEqual(
          1e-9 * total + 1e-9,
        );
        result.labels.forEach((label, row) => {
          const own = squared(problem, row, centres[label]!);
          expect(Math.abs(result.quality.own[row]! ** 2 - own)).toBeLessThanOrEqual(1e-7 * total + 1e-9);
          for (const [other, centre] of centres.entries()) {
            if (result.counts[other]! > 0)
              expect(squared(problem, row, centre)).toBeGreaterThanOrEqual(own - 1e-5 * total);
          }
        });
        expect([...result.counts].reduce((a, b) => a + b)).toBe(rows);
      }),
      { numRuns: 60 },
    );
  });

  it('never raises the inertia by iterating longer', async () => {
    await fc.assert(
      fc.asyncProperty(problems, paths, fc.nat(), async ({ data, rows, columns }, path, seed) => {
        let before = Infinity;
        for (let maxIter = 1; maxIter <= 6; maxIter++) {
          const options = { rows, columns, k: 4, path, seed, tol: 0, nInit: 1, exchange: false, maxIter };
          const { inertia } = await kmeans(data, options);
          expect(inertia).toBeLessThanOrEqual(before * (1 + 1e-6) + 1e-9);
          before = inertia;
        }
      }),
      { numRuns: 20 },
    );
  });

  it('is the same clustering when rows are permuted, shifted or repeated, where clusters are clear', async () => {
    const clear = fc.record({
      seed: fc.nat(),
      rows: fc.integer({ min: 12, max: 50 }),
      columns: fc.integer({ min: 4, max: 30 }),
      groups: fc.integer({ min: 2, max: 4 }),
      shift: fc.integer({ min: -5000, max: 5000 }),
    });
    await fc.assert(
      fc.asyncProperty(clear, paths, async ({ seed, rows, columns, groups, shift }, path) => {
        const problem = blobs(seed, rows, columns, groups, 30);
        const options = { columns, k: groups, path, seed: seed % 1000, exchange: false };
        const truth = problem.truth.map(String);
        const plain = await kmeans(problem.data, { ...options, rows });
        expect(adjustedRandIndex(plain.labels, truth)).toBe(1);

        const order = [...new Generator(seed).permutation(rows)].map(Number);
        const permuted = new Float32Array(rows * columns);
        order.forEach((from, to) =>
          permuted.set(problem.data.subarray(from * columns, (from + 1) * columns), to * columns),
        );
        const moved = await kmeans(permuted, { ...options, rows });
        expect(
          adjustedRandIndex(
            moved.labels,
            order.map((from) => truth[from]!),
          ),
        ).toBe(1);
        expect(Math.abs(moved.inertia - plain.inertia)).toBeLessThanOrEqual(1e-9 * plain.inertia);

        const shifted = await kmeans(
          problem.data.map((x) => x + shift),
          { ...options, rows },
        );
        expect(names(shifted.labels)).toEqual(names(plain.labels));

        const twice = new Float32Array(2 * rows * columns);
        twice.set(problem.data);
        twice.set(problem.data, rows * columns);
        const doubled = await kmeans(twice, { ...options, rows: 2 * rows });
        expect(names(doubled.labels.slice(rows))).toEqual(names(doubled.labels.slice(0, rows)));
        expect(Math.abs(doubled.inertia - 2 * plain.inertia)).toBeLessThanOrEqual(1e-9 * plain.inertia);
      }),
      { numRuns: 25 },
    );
  });

  it('does not depend on which path runs, where clusters are clear', async () => {
    const { data, rows, columns, truth } = blobs(5, 900, 12, 5, 12);
    const options = { rows, columns, k: 5, seed: 3 };
    const gram = await kmeans(data, { ...options, path: 'gram' });
    const fused = await kmeans(data, { ...options, path: 'fused' });
    expect(adjustedRandIndex(gram.labels, truth.map(String))).toBe(1);
    expect(names(fused.labels)).toEqual(names(gram.labels));
    expect([gram.path, fused.path, gram.device]).toEqual(['gram', 'fused', 'cpu']);
    expect(fused.inertia).toBeCloseTo(gram.inertia, 6);
  });
});

describe('the space delta_w', () => {
  const layoutOf = (rank: number, inputs: number, outputs: number): AdapterLayout => ({
    tensors: [
      { name: 'm.lora_A.default.weight', shape: [rank, inputs], offset: 0 },
      { name: 'm.lora_B.default.weight', shape: [outputs, rank], offset: rank * inputs },
    ],
    size: rank * (inputs + outputs),
  });

  it('does not see how a weight change is factored, whatever the factors', async () => {
    const shapes = fc.record({
      seed: fc.nat(),
      rank: fc.integer({ min: 1, max: 3 }),
      inputs: fc.integer({ min: 3, max: 12 }),
      outputs: fc.integer({ min: 3, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ seed, rank, inputs, outputs }) => {
        const layout = layoutOf(rank, inputs, outputs);
        const rows = 10;
        const random = new Generator(seed);
        const plain = Float32Array.from({ length: rows * layout.size }, () => random.standardNormal());
        const other = new Float32Array(plain.length);
        for (let row = 0; row < rows; row++) {
          refactor(plain.subarray(row * layout.size), other.subarray(row * layout.size), {
            rank,
            inputs,
            outputs,
            random,
          });
        }
        const options = { rows, columns: layout.size, layout, k: 3, seed: 1, space: 'delta_w' as const };
        const a = await kmeans(plain, options);
        const b = await kmeans(other, options);
        // The factors were rounded to float32 again.
        expect(Math.abs(a.inertia - b.inertia)).toBeLessThanOrEqual(1e-4 * a.inertia);
      }),
      { numRuns: 30 },
    );
  });

  /** (S A, B S^-1) with S = L U, both factors triangular with ones on the diagonal of U and 1 to 2 on that of L. */
  function refactor(
    from: Float32Array,
    to: Float32Array,
    { rank, inputs, outputs, random }: { rank: number; inputs: number; outputs: number; random: Generator },
  ): void {
    const a = Float64Array.from(from.subarray(0, rank * inputs));
    const b = Float64Array.from(from.subarray(rank * inputs, rank * (inputs + outputs)));
    // Elementary steps and their inverses: row r of A += f row s, column s of B -= f column r.
    for (let r = 0; r < rank; r++) {
      const scale = 1 + random.random();
      for (let c = 0; c < inputs; c++) a[r * inputs + c]! *= scale;
      for (let o = 0; o < outputs; o++) b[o * rank + r]! /= scale;
      for (let s = 0; s < rank; s++) {
        if (s === r) continue;
        const f = random.random() - 0.5;
        for (let c = 0; c < inputs; c++) a[r * inputs + c]! += f * a[s * inputs + c]!;
        for (let o = 0; o < outputs; o++) b[o * rank + s]! -= f * b[o * rank + r]!;
      }
    }
    to.set(a);
    to.set(b, a.length);
  }

  it('puts adapters together that parameters tell apart', async () => {
    const layout = layoutOf(1, 6, 5);
    const random = new Generator(9);
    const rows = 12;
    const first = Array.from({ length: 11 }, () => random.standardNormal());
    const directions = [first, first.map((x) => x + 0.1 * random.standardNormal())];
    const data = new Float32Array(rows * layout.size);
    for (let row = 0; row < rows; row++) {
      const scale = row % 3 === 0 ? 40 : 1 / 40;
      directions[row % 2]!.forEach((x, i) => (data[row * 11 + i] = i < 6 ? x * scale : x / scale));
    }
    const truth = Array.from({ length: rows }, (_, row) => String(row % 2));
    const options = { rows, columns: 11, layout, k: 2 };
    const inDelta = await kmeans(data, { ...options, space: 'delta_w' });
    expect(adjustedRandIndex(inDelta.labels, truth)).toBe(1);
    expect(inDelta.quality.silhouette!.every((value) => value > 0.9)).toBe(true);
    expect(adjustedRandIndex((await kmeans(data, options)).labels, truth)).toBeLessThan(0.5);
    // Centroids are means of the parameters, in every space.
    const problem = { data, rows, columns: 11, truth: [] };
    means(problem, inDelta.labels, 2).forEach((mean, c) =>
      mean.forEach((value, i) => expect(inDelta.centroids[c * 11 + i]).toBeCloseTo(value, 5)),
    );
  });

  it.each([
    [{ space: 'delta_w' }, 'USAGE', /lora_A/],
    [{ standardize: true }, 'USAGE', /plain matrix/],
    [{ space: 'lora' }, 'USAGE', /one of parameters, delta_w, found "lora"/],
    [{ metric: 'cosine', path: 'fused' }, 'UNSUPPORTED', /cosine needs the path "gram"/],
    [{ device: 'gpu' }, 'USAGE', /one of auto, cpu, cuda/],
    [{ k: 'auto', mostK: 1 }, 'USAGE', /mostK of 2 or more/],
    [{ nInit: 0 }, 'USAGE', /needs nInit of 1 or more/],
    [{ maxIter: 0 }, 'USAGE', /needs maxIter of 1 or more/],
    [{ nInit: 2e6 }, 'USAGE', /takes nInit of at most/],
    [{ seed: -1 }, 'USAGE', /seed/],
  ])('and other options that do not fit are refused: %j', async (changes, code, message) => {
    const options = { rows: 4, columns: 3, k: 2, ...changes } as Parameters<typeof kmeans>[1];
    const data = Float32Array.from({ length: 12 }, (_, i) => i);
    await expect(kmeans(data, options)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });
});

describe('a device', () => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);

  it.skipIf(buildInfo().cuda)('that is not there is refused, and auto takes the CPU', async () => {
    await expect(kmeans(data, { rows: 4, columns: 3, k: 2, device: 'cuda' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/"cuda" was asked for.*use "cpu"/) as string,
    });
    expect((await kmeans(data, { rows: 4, columns: 3, k: 2, device: 'auto' })).device).toBe('cpu');
  });

  it.runIf(buildInfo().cuda)('with CUDA clusters as the CPU does', async () => {
    const { data: many, rows, columns } = blobs(7, 3000, 20, 6, 3);
    for (const path of ['gram', 'fused'] as const) {
      const options = { rows, columns, k: 6, path };
      const cpu = await kmeans(many, { ...options, device: 'cpu' });
      const gpu = await kmeans(many, { ...options, device: 'cuda' });
      expect(gpu.device).toBe('cuda');
      expect(names(gpu.labels)).toEqual(names(cpu.labels));
    }
  });
});

describe('rows', () => {
  const spec: AdapterSpec = {
    rank: 2,
    loraAlpha: 16,
    loraDropout: 0,
    targetModules: ['query', 'value'],
    numLabels: 2,
    trainHead: true,
  };
  let backbone: Backbone;
  beforeAll(async () => {
    backbone = await Backbone.load(fileURLToPath(new URL('../fixtures/small-bert', import.meta.url)));
  });
  afterAll(() => backbone.dispose());

  const options = { k: 3, seed: 2 };
  const without = (result: KmeansResult) => ({ ...result, bytesRead: 0 });

  it('of a bank, an array, shared memory and files give the same clustering', async () => {
    const bank = new AdapterBank(backbone, spec, 9);
    const columns = bank.layout.size;
    const { data } = blobs(3, 9, columns, 3, 2);
    for (let row = 0; row < 9; row++) bank.set(row, data.subarray(row * columns, (row + 1) * columns));
    const expected = await kmeans(data, { ...options, rows: 9, columns });

    const shared = new Float32Array(new SharedArrayBuffer(data.byteLength));
    shared.set(data);
    expect(await kmeans(shared, { ...options, rows: 9, columns })).toEqual(expected);
    expect(await kmeans(bank, options)).toEqual(expected);

    const folder = temporaryFolder();
    const adapter = join(folder, 'adapter_model.safetensors');
    const row = bank.get(3);
    await writeSafetensors(
      adapter,
      new Map(bank.layout.tensors.map(({ name, shape, offset }) => [name, tensorAt(row, shape, offset)])),
    );
    const matrix = join(folder, 'matrix.safetensors');
    await writeSafetensors(
      matrix,
      new Map([['x', { shape: [2, columns], data: data.slice(4 * columns, 6 * columns) }]]),
    );
    const mixed = await kmeans(
      [
        { bank, rows: Int32Array.of(0, 1, 2) },
        { file: adapter },
        { file: matrix, tensor: 'x' },
        data.slice(6 * columns, 8 * columns),
        { bank, rows: Int32Array.of(8) },
      ],
      { ...options, columns },
    );
    expect(without(mixed)).toEqual(without(expected));

    // The bank and the adapter's file say what the columns are.
    const byNames = { ...options, columns, space: 'delta_w' as const, standardize: true };
    const layout = bank.layout;
    expect(without(await kmeans([{ file: adapter }, data.slice(0, 5 * columns)], byNames))).toEqual(
      without(await kmeans([{ bank, rows: Int32Array.of(3, 0, 1, 2, 3, 4) }], { ...byNames, layout })),
    );
    bank.dispose();
  });

  function tensorAt(row: Float32Array, shape: readonly number[], offset: number) {
    const size = shape.reduce((product, n) => product * n, 1);
    return { shape, data: row.slice(offset, offset + size) };
  }

  it('of a bank are named with their tensor when a value is not finite', async () => {
    const bank = new AdapterBank(backbone, spec, 3);
    const values = new Float32Array(bank.layout.size);
    const { name, offset } = bank.layout.tensors[2]!;
    values[offset + 1] = Infinity;
    bank.set(2, values);
    await expect(kmeans(bank, { k: 2 })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringContaining(`row 2 is inf at column ${offset + 1}, value 1 of tensor "${name}"`) as string,
    });
    bank.dispose();
  });

  it.each([
    [() => kmeans(new Float32Array(12), { k: 2, rows: 4 }), 'USAGE'],
    [() => kmeans(new Float32Array(12), { k: 2, rows: 4, columns: 4 }), 'SHAPE'],
    [() => kmeans([new Float32Array(12)], { k: 2 }), 'USAGE'],
    [() => kmeans([new Float32Array(12)], { k: 2, columns: 5 }), 'SHAPE'],
    [() => kmeans([], { k: 2 }), 'USAGE'],
    [() => kmeans([{ file: '/nowhere/x.safetensors' }], { k: 2 }), 'IO'],
    [() => kmeansBatch(new Float32Array(12), { k: 2, batch: 2, rows: 4, columns: 2 }), 'SHAPE'],
  ])('that do not fit are refused (%#)', async (call, code) => {
    await expect(call()).rejects.toMatchObject({ code });
  });

  it('of a batch are clustered problem by problem', async () => {
    const parts = [1, 2, 3].map((seed) => blobs(seed, 20, 6, 3, 4).data);
    const data = Float32Array.from(parts.flatMap((part) => [...part]));
    const shape = { rows: 20, columns: 6 };
    const results = await kmeansBatch(data, { ...options, ...shape, batch: 3 });
    expect(results).toEqual(await Promise.all(parts.map((part) => kmeans(part, { ...options, ...shape }))));
  });

  it('can be clustered without centroids, and the work can be stopped', async () => {
    const { data, rows, columns } = blobs(4, 40, 5000, 3, 1);
    const bare = await kmeans(data, { ...options, rows, columns, centroids: false });
    expect([bare.centroids.length, bare.bytesRead]).toEqual([0, data.byteLength]);
    const signal = AbortSignal.abort();
    await expect(kmeans(data, { ...options, rows, columns, signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('have inner products in float32 where that is certain to decide nothing, which is announced', async () => {
    const { data, rows, columns } = blobs(8, 48, 900, 4, 1);
    const settings = { ...options, k: 4, rows, columns };
    const fast = await kmeans(data, settings);
    const exact = await kmeans(data, { ...settings, gram: 'float64' });
    expect([fast.gram, exact.gram]).toEqual(['float32', 'float64']);
    const judged = (result: KmeansResult) => ({ ...result, gram: null, quality: null });
    expect(judged(fast)).toEqual(judged(exact));
    fast.quality.margin!.forEach((margin, row) => expect(margin).toBeCloseTo(exact.quality.margin![row]!, 5));
    expect((await kmeans(data, { ...settings, path: 'fused' })).gram).toBeNull();
    expect((await kmeans(data, { ...settings, centroids: false })).gram).toBe('float64');
  });

  it('have inner products in float64 where float32 leaves a row in doubt', async () => {
    const { data, rows, columns } = blobs(9, 40, 300, 1, 0);
    // Two groups that mirror each other, and a row that lies as near to one as to the other.
    const mirrored = Float32Array.from(data, (x) => -x - 8);
    const between = new Float32Array(columns).fill(-4);
    const chunks = [data, mirrored, between];
    const result = await kmeans(chunks, { columns, k: 2, exchange: false });
    expect(result.gram).toBe('float64');
    expect(result.bytesRead).toBe(3 * (2 * rows + 1) * columns * Float32Array.BYTES_PER_ELEMENT);
    expect((await kmeans(chunks.slice(0, 2), { columns, k: 2, exchange: false })).gram).toBe('float32');
  });

  it('may say themselves how many clusters they form', async () => {
    const { data, rows, columns, truth } = blobs(6, 40, 60, 5, 4);
    const result = await kmeans(data, { rows, columns, k: 'auto', mostK: 9 });
    expect(result.k).toBe(5);
    expect(adjustedRandIndex(result.labels, truth.map(String))).toBe(1);
    expect(result.tried.map(({ k }) => k)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe('squared distances', () => {
  it('are those of the rows, in the space that is asked for', async () => {
    const { data, rows, columns } = blobs(5, 30, 700, 3, 2);
    const row = (i: number) => [...data.subarray(i * columns, (i + 1) * columns)];
    const found = await squaredDistances(data, { rows, columns });
    const cosine = await squaredDistances(data, { rows, columns, metric: 'cosine' });
    const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < rows; j++) {
        const [a, b] = [row(i), row(j)];
        const difference = a.map((x, c) => x - b[c]!);
        expect(found[i * rows + j]).toBeCloseTo(dot(difference, difference), 7);
        expect(cosine[i * rows + j]).toBeCloseTo(2 - (2 * dot(a, b)) / Math.sqrt(dot(a, a) * dot(b, b)), 10);
      }
      expect(found[i * rows + i]).toBe(0);
    }
  });

  it.each([
    [new Float32Array(0), { rows: 0, columns: 3 }, 'SHAPE'],
    [new Float32Array(16385), { rows: 16385, columns: 1 }, 'UNSUPPORTED'],
    [Float32Array.of(1, NaN), { rows: 2, columns: 1 }, 'NON_FINITE'],
    [new Float32Array(4), { rows: 2, columns: 2, space: 'delta_w' }, 'USAGE'],
  ] as const)('are refused for rows that have none (%#)', async (data, options, code) => {
    await expect(squaredDistances(data, options)).rejects.toMatchObject({ code });
  });
});

it('the rates of the machine are positive', async () => {
  const rates = await machineRates();
  for (const rate of Object.values(rates)) expect(rate).toBeGreaterThan(1e6);
});
