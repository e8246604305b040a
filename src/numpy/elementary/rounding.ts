import type { DoubleDouble } from './double-double.js';

const view = new DataView(new ArrayBuffer(8));
/** A value this near, as a share of itself, to half-way between two doubles counts as half-way. */
const TIE = 2 ** -83;

/** floor(log2 |x|) of a normal double. */
export function exponentOf(x: number): number {
  view.setFloat64(0, x);
  return ((view.getUint16(0) >>> 4) & 0x7ff) - 1023;
}

/**
 * value * 2^k rounded once, ties to even, into the normal or subnormal doubles or to Infinity.
 *
 * A value within 2^-83 of itself from half-way is taken to be half-way, as exact powers such as 131073^3 are: they reach
 * this function with a relative error below 2^-90.
 *
 * @param value between 1/2 and 2
 */
export function roundScaled({ hi, lo }: DoubleDouble, k: number): number {
  const exponent = exponentOf(hi);
  const below = lo < 0 && hi === 2 ** exponent ? 1 : 0;
  // the exponent of one unit in the last place of the result
  const unit = Math.max(exponent - below - 52 + k, -1074);
  const perUnit = 2 ** (k - unit);
  const scaled = hi * perUnit;
  let units = Math.floor(scaled);
  let fraction = scaled - units;
  const rest = lo * perUnit;
  if (fraction + rest < 0) {
    units -= 1;
    fraction += 1;
  }
  const overHalf = fraction - 0.5 + rest;
  const up = Math.abs(overHalf) < TIE * scaled ? units % 2 === 1 : overHalf > 0;
  return (units + (up ? 1 : 0)) * 2 ** unit;
}
