import { describe, expect, it } from 'vitest';
import { Pcg64 } from '../../src/numpy/pcg64.js';
import { numpyFixture, times } from '../support/numpy-fixtures.js';

const { seeds } = numpyFixture('streams.json') as { seeds: Record<string, { raw: string[] }> };
const MASK = (1n << 128n) - 1n;

describe('Pcg64', () => {
  it.each(Object.keys(seeds))('gives the 64-bit words that NumPy gives for seed %s', (seed) => {
    const bits = new Pcg64(BigInt(seed));
    expect(times(4, () => bits.nextUint64())).toEqual(seeds[seed]!.raw.map(BigInt));
  });

  it('follows the 128-bit recurrence for many steps', () => {
    const bits = new Pcg64(7);
    const inner = bits as unknown as { state: Uint32Array; increment: Uint32Array };
    const whole = (limbs: Uint32Array): bigint => limbs.reduceRight((sum, limb) => (sum << 32n) | BigInt(limb), 0n);
    const increment = whole(inner.increment);
    let state = whole(inner.state);
    for (let i = 0; i < 5000; i++) {
      state = (state * 0x2360ed051fc65da44385df649fccf645n + increment) & MASK;
      const mixed = (state >> 64n) ^ (state & 0xffffffffffffffffn);
      const turn = state >> 122n;
      expect(bits.nextUint64()).toBe(BigInt.asUintN(64, (mixed >> turn) | (mixed << (64n - turn))));
    }
  });

  it('gives 32 bits at a time, the lower half first, and keeps the upper half over other draws', () => {
    const whole = new Pcg64(3);
    const first = whole.nextUint64();
    const second = whole.nextUint64();
    const halves = new Pcg64(3);
    expect(halves.nextUint32()).toBe(Number(first & 0xffffffffn));
    expect(halves.nextUint64()).toBe(second);
    expect(halves.nextUint32()).toBe(Number(first >> 32n));
  });

  it('gives doubles of 53 bits', () => {
    const raw = new Pcg64(9);
    const doubles = new Pcg64(9);
    for (let i = 0; i < 100; i++) expect(doubles.nextDouble()).toBe(Number(raw.nextUint64() >> 11n) / 2 ** 53);
  });
});
