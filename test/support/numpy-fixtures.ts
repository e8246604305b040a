import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A fixture that scripts/fixtures/make_numpy.py or make_elementary.py made; the caller knows its shape. */
export function numpyFixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../fixtures/numpy/${name}`, import.meta.url), 'utf8'));
}

/** SHA-256 (hex) over the values as little-endian int64. */
export function sha256OfInt64(values: Iterable<number>): string {
  return createHash('sha256').update(BigInt64Array.from(values, BigInt)).digest('hex');
}

/** SHA-256 (hex) over the values as little-endian float64. */
export function sha256OfFloat64(values: Iterable<number>): string {
  return createHash('sha256').update(Float64Array.from(values)).digest('hex');
}

/** The values rounded to 40 bits (Veltkamp), as the script's `forty_bits` rounds them. */
export function fortyBits(values: readonly number[]): number[] {
  return values.map((value) => {
    const product = value * (2 ** 13 + 1);
    return product - (product - value);
  });
}

/** `n` draws. */
export function times<T>(n: number, draw: () => T): T[] {
  return Array.from({ length: n }, draw);
}
