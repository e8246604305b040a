// Follows NumPy's random/src/pcg64 (MIT; see THIRD_PARTY_NOTICES.md).
import { SeedSequence } from './seed-sequence.js';

const TWO_16 = 0x10000;
const TWO_32 = 0x100000000;

/** 0x2360ed051fc65da44385df649fccf645, in 16-bit limbs, least significant first. */
const M = [0xf645, 0x9fcc, 0xdf64, 0x4385, 0x5da4, 0x1fc6, 0xed05, 0x2360] as const;
const [M0, M1, M2, M3, M4, M5, M6, M7] = M;

/**
 * NumPy's PCG64: a 128-bit linear congruential generator with O'Neill's XSL-RR output of 64 bits, seeded through
 * SeedSequence. All 128-bit values are four 32-bit limbs, least significant first.
 */
export class Pcg64 {
  private readonly state = new Uint32Array(4);
  private readonly increment = new Uint32Array(4);
  /** the last 64-bit output */
  private high = 0;
  private low = 0;
  /** the upper half of an output whose lower half nextUint32 gave away, or -1 */
  private kept = -1;

  /** @throws FltacError USAGE when the seed is no integer of 0 or more */
  constructor(seed: number | bigint) {
    // four 64-bit words: state (upper, lower), stream (upper, lower)
    const words = new SeedSequence(seed).generateState(8);
    const limbs = (from: number): [number, number, number, number] => [
      words[from + 2]!,
      words[from + 3]!,
      words[from]!,
      words[from + 1]!,
    ];
    this.increment.set(shiftLeftAndSetLowest(limbs(4)));
    this.state.set(this.increment); // one step from state 0
    addInto(this.state, limbs(0));
    this.step();
  }

  /** The next 64 bits, as `random_raw`. */
  nextUint64(): bigint {
    this.step();
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** The next 32 bits: the lower half of an output, then its upper half. */
  nextUint32(): number {
    if (this.kept >= 0) {
      const value = this.kept;
      this.kept = -1;
      return value;
    }
    this.step();
    this.kept = this.high;
    return this.low;
  }

  /** The upper 53 bits of the next output over 2^53: uniform in [0, 1). */
  nextDouble(): number {
    this.step();
    return (this.high * 0x200000 + (this.low >>> 11)) / 2 ** 53;
  }

  /** Draws 64 bits and hands them over in two words, for callers that take them apart: bits 63-32, then bits 31-0. */
  nextWords(words: Uint32Array): void {
    this.step();
    words[0] = this.high;
    words[1] = this.low;
  }

  /**
   * state = state * M + increment mod 2^128; output from the new state. Each product of a 32-bit and a 16-bit limb has
   * 48 bits, and at most four stand in a column, so all sums are exact in a double.
   */
  private step(): void {
    const state = this.state;
    const increment = this.increment;
    const s0 = state[0]!;
    const s1 = state[1]!;
    const s2 = state[2]!;
    const s3 = state[3]!;
    const c1 = s0 * M1;
    const c3 = s0 * M3 + s1 * M1;
    const c5 = s0 * M5 + s1 * M3 + s2 * M1;
    const c7 = s0 * M7 + s1 * M5 + s2 * M3 + s3 * M1;
    const t0 = s0 * M0 + (c1 & 0xffff) * TWO_16 + increment[0]!;
    const t1 = s0 * M2 + s1 * M0 + (c3 & 0xffff) * TWO_16 + increment[1]! + upper(c1, t0);
    const t2 = s0 * M4 + s1 * M2 + s2 * M0 + (c5 & 0xffff) * TWO_16 + increment[2]! + upper(c3, t1);
    const t3 = s0 * M6 + s1 * M4 + s2 * M2 + s3 * M0 + (c7 & 0xffff) * TWO_16 + increment[3]! + upper(c5, t2);
    const n0 = (state[0] = t0 >>> 0);
    const n1 = (state[1] = t1 >>> 0);
    const n2 = (state[2] = t2 >>> 0);
    const n3 = (state[3] = t3 >>> 0);
    this.output(n3 ^ n1, n2 ^ n0, n3 >>> 26);
  }

  /** The 64 bits (high, low) rotated right by `turn`. */
  private output(high: number, low: number, turn: number): void {
    const swapped = turn >= 32;
    const a = swapped ? low : high;
    const b = swapped ? high : low;
    const by = turn & 31;
    this.high = by === 0 ? a >>> 0 : ((a >>> by) | (b << (32 - by))) >>> 0;
    this.low = by === 0 ? b >>> 0 : ((b >>> by) | (a << (32 - by))) >>> 0;
  }
}

/** What a 16-bit column and the 32-bit limb below carry into the next limb. */
function upper(column: number, limb: number): number {
  return Math.floor(column / TWO_16) + Math.floor(limb / TWO_32);
}

/** 2 x + 1 mod 2^128 */
function shiftLeftAndSetLowest(x: readonly number[]): Uint32Array {
  return Uint32Array.from(x, (limb, i) => (limb << 1) | (i === 0 ? 1 : x[i - 1]! >>> 31));
}

function addInto(sum: Uint32Array, x: readonly number[]): void {
  let carry = 0;
  for (let i = 0; i < 4; i++) {
    const total = sum[i]! + x[i]! + carry;
    sum[i] = total >>> 0;
    carry = total >= TWO_32 ? 1 : 0;
  }
}
