// Follows NumPy's random/src/distributions/distributions.c (BSD-3-Clause and, from Julia, MIT; see THIRD_PARTY_NOTICES.md).
import { exp, log1p } from './elementary/index.js';
import type { Pcg64 } from './pcg64.js';
import { EXPONENTIAL_F, EXPONENTIAL_K, EXPONENTIAL_R, EXPONENTIAL_W } from './tables/ziggurat-exponential.js';
import { NORMAL_F, NORMAL_K, NORMAL_R, NORMAL_W } from './tables/ziggurat-normal.js';

/** 1 / NORMAL_R as NumPy writes it. */
const NORMAL_INVERSE_R = 0.2736612373297583;
const words = new Uint32Array(2);

/** Exponential with mean 1, by Marsaglia and Tsang's ziggurat of 256 layers as in NumPy's Generator. */
export function standardExponential(bits: Pcg64): number {
  for (;;) {
    bits.nextWords(words);
    // bits 3-10 choose the layer, bits 11-63 the place in it
    const layer = (words[1]! >>> 3) & 0xff;
    const place = words[0]! * 0x200000 + (words[1]! >>> 11);
    const x = place * EXPONENTIAL_W[layer]!;
    if (place < EXPONENTIAL_K[layer]!) return x;
    if (layer === 0) return EXPONENTIAL_R - log1p(-bits.nextDouble());
    const f = EXPONENTIAL_F[layer]!;
    if ((EXPONENTIAL_F[layer - 1]! - f) * bits.nextDouble() + f < exp(-x)) return x;
  }
}

/** Normal with mean 0 and variance 1, by the ziggurat of NumPy's Generator. */
export function standardNormal(bits: Pcg64): number {
  for (;;) {
    bits.nextWords(words);
    // bits 0-7 choose the layer, bit 8 the sign, bits 9-60 the place in it
    const layer = words[1]! & 0xff;
    const negative = (words[1]! & 0x100) !== 0;
    const place = (words[0]! & 0x1fffffff) * 0x800000 + (words[1]! >>> 9);
    const size = place * NORMAL_W[layer]!;
    const x = negative ? -size : size;
    if (place < NORMAL_K[layer]!) return x;
    // the tail's sign is bit 8 of the place
    if (layer === 0) return normalTail(bits, (words[1]! & 0x20000) !== 0);
    const f = NORMAL_F[layer]!;
    if ((NORMAL_F[layer - 1]! - f) * bits.nextDouble() + f < exp(-0.5 * x * x)) return x;
  }
}

/** Beyond NORMAL_R (Marsaglia, 1964). */
function normalTail(bits: Pcg64, negative: boolean): number {
  for (;;) {
    const x = -NORMAL_INVERSE_R * log1p(-bits.nextDouble());
    const y = -log1p(-bits.nextDouble());
    if (y + y > x * x) return negative ? -(NORMAL_R + x) : NORMAL_R + x;
  }
}
