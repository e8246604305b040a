// Follows NumPy's random/src/distributions/distributions.c (BSD-3-Clause; see THIRD_PARTY_NOTICES.md).
import type { Pcg64 } from './pcg64.js';

const TWO_32 = 0x100000000;

/**
 * Uniform in [0, range], as `Generator.integers` draws it: Lemire's multiplication with rejection (ACM TOMACS 29(1),
 * 2019), on 32 bits where the range allows, else on 64.
 *
 * @param range an integer from 0 to 2^53 - 1; 0 draws nothing
 */
export function boundedInteger(bits: Pcg64, range: number): number {
  if (range === 0) return 0;
  if (range === TWO_32 - 1) return bits.nextUint32();
  return range < TWO_32 ? lemire32(bits, range) : lemire64(bits, BigInt(range));
}

function lemire32(bits: Pcg64, range: number): number {
  const count = range + 1;
  // (2^32 - count) mod count: below it a product's lower half is over-represented
  let threshold = -1;
  for (;;) {
    const draw = bits.nextUint32();
    const lower = Math.imul(draw, count) >>> 0;
    if (lower < count && threshold < 0) threshold = (TWO_32 - count) % count;
    if (lower >= threshold) return upperHalf(draw, count);
  }
}

/** floor(a b / 2^32) for two 32-bit integers. */
function upperHalf(a: number, b: number): number {
  const low = (a & 0xffff) * b;
  const high = (a >>> 16) * b;
  return Math.floor((high + Math.floor(low / 0x10000)) / 0x10000);
}

function lemire64(bits: Pcg64, range: bigint): number {
  const count = range + 1n;
  const threshold = (2n ** 64n - count) % count;
  for (;;) {
    const product = bits.nextUint64() * count;
    if (BigInt.asUintN(64, product) >= threshold) return Number(product >> 64n);
  }
}

/**
 * Uniform in [0, max], as `Generator.shuffle` and `permutation` draw it: bits under the smallest covering mask until
 * they are not above max.
 *
 * @param max an integer from 0 to 2^32 - 1; 0 draws nothing
 */
export function interval(bits: Pcg64, max: number): number {
  if (max === 0) return 0;
  const mask = 0xffffffff >>> Math.clz32(max);
  for (;;) {
    const value = (bits.nextUint32() & mask) >>> 0;
    if (value <= max) return value;
  }
}
