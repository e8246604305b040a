import * as dd from './double-double.js';
import type { DoubleDouble } from './double-double.js';
import { exponentOf, roundScaled } from './rounding.js';

/*
 * log, exp, log1p and pow from their series, in double-double arithmetic and rounded once: within 0.5 + 2^-29 units in
 * the last place of the exact value, so correctly rounded but where that value is as good as half-way between two doubles.
 *
 * NumPy takes these functions from the C library, on Linux glibc, whose log, exp and pow are themselves correctly rounded
 * in all but about 0.1 % of cases (scripts/fixtures/make_elementary.py --libm counts them): draws that go through them
 * equal NumPy's to the bit but for such last bits. glibc 2.36 rounds 7 % of log1p otherwise, but log1p enters only the
 * ziggurats' tails, at fewer than 0.05 % of the draws, and beta's underflow. Bits, doubles, integers and permutations
 * never depend on these functions.
 */

/** exp(x) overflows above, and rounds to 0 below. */
const EXP_LARGEST = 710;
const EXP_SMALLEST = -746;
const SMALLEST_NORMAL = 2 ** -1022;
/** 1 + x rounds to 1, and log(1 + x) to x, for |x| below. */
const TINY = 2 ** -54;

/** Terms of 2 atanh(s) = log((1 + s) / (1 - s)) for |s| < 0.172: 0.172^(2 * 22) < 2^-111. */
const ATANH_TERMS = 22;
const ATANH = Array.from({ length: ATANH_TERMS }, (_, n) => dd.divide({ hi: 2, lo: 0 }, { hi: 2 * n + 1, lo: 0 }));

/** Terms of exp(r) for |r| < 0.347: 0.347^27 / 27! < 2^-134. */
const EXP_TERMS = 27;
const EXP = inverseFactorials(EXP_TERMS);

const LN2 = ln2();

function inverseFactorials(count: number): DoubleDouble[] {
  const values = [dd.ONE];
  for (let n = 1; n < count; n++) values.push(dd.divide(values[n - 1]!, { hi: n, lo: 0 }));
  return values;
}

/** ln 2 = 2 atanh(1/3), summed in integers of 2^-200. */
function ln2(): DoubleDouble {
  const bits = 200;
  let sum = 0n;
  for (let n = 1n, power = (2n << BigInt(bits)) / 3n; power > 0n; n += 2n, power /= 9n) sum += power / n;
  const hi = Number(sum);
  return { hi: hi / 2 ** bits, lo: Number(sum - BigInt(hi)) / 2 ** bits };
}

/** log(a) for a > 0, hi a normal double. */
function logOf(a: DoubleDouble): DoubleDouble {
  // a = m * 2^k, m between sqrt(1/2) and sqrt(2)
  let k = exponentOf(a.hi);
  if (a.hi * 2 ** -k > Math.SQRT2) k += 1;
  const m = dd.scale(a, 2 ** -k);
  const s = dd.divide(dd.add(m, { hi: -1, lo: 0 }), dd.add(m, dd.ONE));
  const logM = dd.multiply(s, dd.polynomial(ATANH, dd.multiply(s, s)));
  return dd.subtractMultiple(logM, -k, LN2);
}

/** log(x) for finite x > 0. */
function logOfDouble(x: number): DoubleDouble {
  if (x >= SMALLEST_NORMAL) return logOf({ hi: x, lo: 0 });
  return dd.subtractMultiple(logOf({ hi: x * 2 ** 54, lo: 0 }), 54, LN2);
}

/** exp(a), rounded to a double; a.hi between EXP_SMALLEST and EXP_LARGEST. */
function expOf(a: DoubleDouble): number {
  const k = Math.round(a.hi / LN2.hi);
  return roundScaled(dd.polynomial(EXP, dd.subtractMultiple(a, k, LN2)), k);
}

/** Natural logarithm: -Infinity of 0, NaN of negative numbers. */
export function log(x: number): number {
  return x > 0 && x < Infinity ? logOfDouble(x).hi : Math.log(x);
}

/** log(1 + x): -Infinity of -1, NaN below. */
export function log1p(x: number): number {
  if (!(x > -1 && x < Infinity)) return Math.log1p(x);
  return Math.abs(x) < TINY ? x : logOf(dd.twoSum(1, x)).hi;
}

/** e^x */
export function exp(x: number): number {
  if (x > EXP_LARGEST) return Infinity;
  if (x < EXP_SMALLEST) return 0;
  if (!(Math.abs(x) >= TINY)) return 1 + x;
  return expOf({ hi: x, lo: 0 });
}

/** x^y; 1 for x = 1 whatever y, as in C, and NaN where x is negative and y not an integer. */
export function pow(x: number, y: number): number {
  if (x === 1) return 1;
  if (y === 2) return x * x; // gammas of shape 1/2
  if (x < 0 && Number.isInteger(y)) return y % 2 === 0 ? pow(-x, y) : -pow(-x, y);
  if (!(x > 0 && x < Infinity && Number.isFinite(y))) return x ** y;
  const logX = logOfDouble(x);
  const size = y * logX.hi;
  // also keeps y within the range of twoProduct
  if (size > EXP_LARGEST) return Infinity;
  if (size < EXP_SMALLEST) return 0;
  if (Math.abs(size) < TINY) return 1 + size;
  return expOf(dd.multiply({ hi: y, lo: 0 }, logX));
}
