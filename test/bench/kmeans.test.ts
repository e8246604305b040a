import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inertiaOf, writeGroups } from '../../src/bench/kmeans-data.js';
import { KMEANS_PRESETS } from '../../src/bench/kmeans-presets.js';
import { parseShapes, shapeText } from '../../src/bench/kmeans-shapes.js';
import { assertFits, benchKmeans, gramBound } from '../../src/bench/kmeans.js';
import type { KmeansBenchOptions } from '../../src/bench/kmeans.js';
import { setThreads } from '../../src/engine/index.js';
import { silentLog } from '../../src/run/log.js';

const DEFAULTS = { nInit: 10, maxIter: 300 };
const shape = (word: string) => parseShapes([word], DEFAULTS)[0]!;
const context = () => ({ log: silentLog(), signal: new AbortController().signal, env: process.env });

describe('shapes of the K-means benchmark', () => {
  it('are rows x columns x k, with starts and iterations where they are given', () => {
    expect(shape('50x149x5')).toEqual({ batch: 1, rows: 50, columns: 149, k: 5, ...DEFAULTS });
    expect(shape('1000x64x256:1')).toMatchObject({ k: 256, nInit: 1, maxIter: 300 });
    expect(shape('1000x64x256:2:25')).toMatchObject({ nInit: 2, maxIter: 25 });
    expect(shape('32x100x8x4')).toMatchObject({ batch: 32, rows: 100, columns: 8, k: 4 });
  });

  it('have names, of which several may be listed with others', () => {
    const found = parseShapes(['bert', '3x4x2', 'points'], DEFAULTS);
    expect(found.map(shapeText)).toEqual([
      '50 x 148,994, k 5, 10 starts',
      '3 x 4, k 2, 10 starts',
      '100,000 x 128, k 100, 10 starts, at most 25 iterations',
      '1,000,000 x 64, k 256, 1 start, at most 25 iterations',
    ]);
    expect(KMEANS_PRESETS['adapters']!.shapes).toEqual(parseShapes(['bert', 'bert-16', 'llama', 'many'], DEFAULTS));
  });

  it.each(['50x5', '50x5x', 'burt', '1x2x3x4x5', '50x-1x5', 'constructor'])('refuse %s and list the names', (word) => {
    expect(() => shape(word)).toThrow(/neither a preset \(bert, .*gpu\) nor a shape like 50x148994x5/);
  });

  it.each(['0x5x5', '5x5x0', '5x5x5:0'])('refuse %s, where something is 0', (word) => {
    expect(() => shape(word)).toThrow(/expected 1 or more/);
  });

  it.each(['10x10x20', '5x5x5', '32x4x8x4'])('refuse %s, which has no more rows than clusters', (word) => {
    expect(() => shape(word)).toThrow(/asks for \d+ clusters of \d+ rows; expected fewer clusters than rows/);
  });

  it('are refused where data and a copy do not fit into memory, before data are made', async () => {
    expect(() => assertFits(shape('10x100x2'), 8000)).not.toThrow();
    expect(() => assertFits(shape('10x101x2'), 8000)).toThrow(/10 x 101, k 2.* needs .* of memory/);
    const options = { ...small(), shapes: [shape('100000000x10000000x2')] };
    await expect(benchKmeans(options, context())).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('data of the K-means benchmark', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fltac-test-'));
  const file = join(folder, 'data.f32');
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are the same for the same seed, and others for another', () => {
    const some = shape('2x30x11x3');
    const read = (seed: number) => {
      writeGroups(file, some, seed);
      return readFileSync(file);
    };
    expect(read(1)).toEqual(read(1));
    expect(read(1)).not.toEqual(read(2));
    expect(statSync(file).size).toBe(2 * 30 * 11 * 4);
  });

  it('are judged by the squared distances to the means of the clusters that labels name', () => {
    writeFileSync(file, new Float32Array([0, 0, 2, 0, 10, 5, 1, 1, 1, 3, 1, 5]));
    const two = { ...shape('2x3x2x2') };
    // (0,0) (2,0) | (10,5), then (1,1) (1,5) | (1,3)
    expect(inertiaOf(file, two, Int32Array.of(0, 0, 1, 0, 1, 0))).toBe(1 + 1 + 4 + 4);
    // (1,1) (1,3) (1,5) in one cluster
    expect(inertiaOf(file, two, Int32Array.of(0, 0, 1, 1, 1, 1))).toBe(2 + 8);
  });

  it('have no judgement by labels that are not those of their clusters', () => {
    expect(() => inertiaOf(file, shape('2x3x2x2'), Int32Array.of(0, 0, 1, 0, 2, 0))).toThrow(/labels from 0 to 1/);
    expect(() => inertiaOf(file, shape('2x3x2x2'), Int32Array.of(0, 0, 1))).toThrow(/expected 6 labels/);
  });
});

it('the bound is one reading and the upper half of the Gram product', () => {
  const rates = { readBytesPerSecond: 4e9, gemm64: 1e9 };
  expect(gramBound(shape('10x1000000x2'), rates)).toBeCloseTo(0.01 + 0.11, 12);
});

function small(): KmeansBenchOptions {
  const shapes = [shape('40x300x4'), shape('2x600x8x5')];
  return { shapes, peers: [], python: 'python3', device: 'cpu', repeat: 3, seed: 7, threads: 1, tol: 1e-4 };
}

describe('the K-means benchmark', () => {
  beforeAll(() => setThreads(1));

  it('times fltac, and computes the inertia of what it found anew', { timeout: 180_000 }, async () => {
    const { shapes, sides, machine } = await benchKmeans(small(), context());
    expect(sides).toMatchObject([{ name: 'fltac', state: 'measured' }]);
    expect(machine).toMatchObject({ threads: 1, device: 'cpu', gpu: null });
    const [long, short] = shapes.map(({ results }) => results[0]!);
    expect(long).toMatchObject({ side: 'fltac', path: 'gram', gram: 'float32', ratio: 1, inertiaRatio: 1 });
    expect(short).toMatchObject({ side: 'fltac', path: 'fused', gram: null, ratio: 1, inertiaRatio: 1 });
    expect(shapes.map(({ gramBoundSeconds }) => gramBoundSeconds === null)).toEqual([false, true]);
    // the noise has variance 1, and 4 means of 300 values take that many degrees of freedom
    expect(long!.inertia / (36 * 300)).toBeGreaterThan(0.9);
    expect(long!.inertia / (36 * 300)).toBeLessThan(1.1);
    expect(long!.bytesRead).toBe(2 * 40 * 300 * 4); // one pass for the Gram matrix, one for the centroids
    for (const { runs, milliseconds, peakBytes, baseBytes } of [long!, short!]) {
      expect(runs).toHaveLength(3);
      expect(milliseconds.least).toBeLessThanOrEqual(milliseconds.median);
      expect(peakBytes).toBeGreaterThan(baseBytes);
    }
  });

  it('names a peer as absent where the Python is, and measures the rest', { timeout: 180_000 }, async () => {
    const options = {
      ...small(),
      shapes: [shape('20x50x2')],
      peers: ['sklearn', 'faiss'] as const,
      python: '/no/such/python',
    };
    const warnings: string[] = [];
    const log = { ...silentLog(), warn: (message: string) => void warnings.push(message) };
    const { sides, shapes } = await benchKmeans(options, { ...context(), log });
    expect(sides[1]).toMatchObject({ name: 'sklearn', state: 'absent' });
    expect(warnings).toEqual([
      expect.stringMatching(/^sklearn, faiss are absent: \/no\/such\/python: no such program$/),
    ]);
    expect(shapes[0]!.results.map(({ side }) => side)).toEqual(['fltac']);
  });

  it('stops when it is told to', { timeout: 180_000 }, async () => {
    const controller = new AbortController();
    const log = { ...silentLog(), info: () => controller.abort() };
    const stopped = benchKmeans(small(), { log, signal: controller.signal, env: process.env });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
