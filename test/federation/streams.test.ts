import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { drawBatches, streamGenerator, streamKey } from '../../src/federation/streams.js';
import { Generator } from '../../src/numpy/index.js';

describe('streamKey', () => {
  it('is the same on every machine and in every version', () => {
    // sha256('["42","dropout",1,2,"sst2"]'), first eight bytes
    expect(streamKey(42, 'dropout', 1, 2, 'sst2')).toBe(13899218285495053204n);
  });

  it('fits 64 bits and differs for different names', () => {
    const name = fc.tuple(fc.nat({ max: 3 }), fc.array(fc.oneof(fc.string({ maxLength: 2 }), fc.nat({ max: 12 }))));
    fc.assert(
      fc.property(name, name, ([seedA, a], [seedB, b]) => {
        const same = JSON.stringify([seedA, a]) === JSON.stringify([seedB, b]);
        expect(streamKey(seedA, ...a) === streamKey(seedB, ...b)).toBe(same);
        expect(BigInt.asUintN(64, streamKey(seedA, ...a))).toBe(streamKey(seedA, ...a));
      }),
    );
  });

  it('does not mix up where a part ends or whether it is a number', () => {
    const keys = [
      streamKey(1, 'a', 'b'),
      streamKey(1, 'ab'),
      streamKey(1, 'a,b'),
      streamKey(1, 'a","b'),
      streamKey(1, 1, 2),
      streamKey(1, 12),
      streamKey(1, '1', 2),
      streamKey(11, 2),
      streamKey(1),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('takes a seed as number or bigint alike', () => {
    expect(streamKey(42n, 'x')).toBe(streamKey(42, 'x'));
    expect(streamKey(2n ** 70n, 'x')).not.toBe(streamKey(2n ** 70n + 1n, 'x'));
  });

  it.each([0.5, NaN, 2 ** 53])('refuses %s as seed or part', (value) => {
    expect(() => streamKey(value)).toThrow(FltacError);
    expect(() => streamKey(1, value)).toThrow(FltacError);
  });
});

describe('streamGenerator', () => {
  it('is the generator of the key, whatever was drawn before', () => {
    const first = streamGenerator(42, 'batches', 3, 1, 'rte').permutation(20);
    streamGenerator(42, 'batches', 3, 0, 'rte').permutation(999);
    expect(streamGenerator(42, 'batches', 3, 1, 'rte').permutation(20)).toEqual(first);
    expect(new Generator(streamKey(42, 'batches', 3, 1, 'rte')).permutation(20)).toEqual(first);
  });
});

describe('drawBatches', () => {
  const rows = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => 100 + 7 * i);

  it('keeps the short last batch of each pass and starts over with a fresh shuffle', () => {
    const { order, batches } = drawBatches(rows(10), 7, 4, new Generator(1));
    expect([...batches]).toEqual([0, 4, 8, 10, 14, 18, 20, 24]);
    expect(order).toHaveLength(24);
    expect(order.slice(0, 10)).not.toEqual(order.slice(10, 20));
  });

  it('covers all rows in each pass, and no row twice', () => {
    const sizes = fc.tuple(
      fc.integer({ min: 1, max: 60 }),
      fc.nat({ max: 40 }),
      fc.integer({ min: 1, max: 20 }),
      fc.nat(),
    );
    fc.assert(
      fc.property(sizes, ([n, steps, batchSize, seed]) => {
        const given = rows(n);
        const { order, batches } = drawBatches(given, steps, batchSize, new Generator(seed));
        expect(given).toEqual(rows(n));
        expect(batches).toHaveLength(steps + 1);
        expect(batches[0]).toBe(0);
        expect(batches[steps]).toBe(order.length);
        for (let at = 0; at < order.length; at += n) {
          const pass = order.slice(at, at + n);
          expect(new Set(pass).size).toBe(pass.length);
          if (pass.length === n) expect(pass.sort()).toEqual(rows(n));
          else expect([...pass].every((row) => given.includes(row))).toBe(true);
        }
      }),
    );
  });

  it('batches are full except the last of a pass', () => {
    const sizes = fc.tuple(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 20 }),
    );
    fc.assert(
      fc.property(sizes, ([n, steps, batchSize]) => {
        const { batches } = drawBatches(rows(n), steps, batchSize, new Generator(0));
        const perPass = Math.ceil(n / batchSize);
        for (let step = 0; step < steps; step++) {
          const last = step % perPass === perPass - 1;
          const size = last ? n - batchSize * (perPass - 1) : batchSize;
          expect(batches[step + 1]! - batches[step]!).toBe(size);
        }
      }),
    );
  });

  it('fewer rows than a batch: every batch is all rows, in a new order', () => {
    const { order, batches } = drawBatches(rows(5), 3, 32, new Generator(4));
    expect([...batches]).toEqual([0, 5, 10, 15]);
    expect(order.slice(0, 5).sort()).toEqual(rows(5));
  });

  it('draws the same for the same generator, and nothing for no steps', () => {
    const draw = (): unknown => drawBatches(rows(50), 9, 8, streamGenerator(42, 'batches', 1, 0, 'sst2'));
    expect(draw()).toEqual(draw());
    const none = drawBatches(rows(3), 0, 8, new Generator(0));
    expect(none).toEqual({ order: new Int32Array(0), batches: Int32Array.of(0) });
  });

  it('refuses steps without rows, and sizes that are no counts', () => {
    expect(() => drawBatches(rows(0), 1, 8, new Generator(0))).toThrow(/no rows/);
    expect(() => drawBatches(rows(3), -1, 8, new Generator(0))).toThrow(FltacError);
    expect(() => drawBatches(rows(3), 1, 0, new Generator(0))).toThrow(FltacError);
  });
});
