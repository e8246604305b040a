/**
 * A number as the exact sum of two doubles, |lo| at most half a unit in the last place of hi: about 106 bits.
 * The operations below are those of Knuth (TAOCP 2, 4.2.2), Dekker (Numer. Math. 18, 1971) and Hida, Li and Bailey
 * (ARITH-15, 2001); each errs by less than 2^-100 of its result. Operands between 2^-400 and 2^400 neither overflow nor
 * lose bits to underflow.
 */
export interface DoubleDouble {
  readonly hi: number;
  readonly lo: number;
}

export const ONE: DoubleDouble = { hi: 1, lo: 0 };

/** 2^27 + 1: cuts 53 bits into two parts of at most 26. */
const SPLITTER = 134217729;

/** a + b, exactly. */
export function twoSum(a: number, b: number): DoubleDouble {
  const hi = a + b;
  const part = hi - a;
  return { hi, lo: a - (hi - part) + (b - part) };
}

/** a + b, exactly, for |a| >= |b| or a = 0. */
function quickTwoSum(a: number, b: number): DoubleDouble {
  const hi = a + b;
  return { hi, lo: b - (hi - a) };
}

/** a * b, exactly. */
export function twoProduct(a: number, b: number): DoubleDouble {
  const hi = a * b;
  const ca = SPLITTER * a;
  const cb = SPLITTER * b;
  const a1 = ca - (ca - a);
  const b1 = cb - (cb - b);
  const a2 = a - a1;
  const b2 = b - b1;
  return { hi, lo: a2 * b2 - (hi - a1 * b1 - a2 * b1 - a1 * b2) };
}

export function add(a: DoubleDouble, b: DoubleDouble): DoubleDouble {
  const high = twoSum(a.hi, b.hi);
  const low = twoSum(a.lo, b.lo);
  const sum = quickTwoSum(high.hi, high.lo + low.hi);
  return quickTwoSum(sum.hi, sum.lo + low.lo);
}

export function multiply(a: DoubleDouble, b: DoubleDouble): DoubleDouble {
  const product = twoProduct(a.hi, b.hi);
  return quickTwoSum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

export function divide(a: DoubleDouble, b: DoubleDouble): DoubleDouble {
  const first = a.hi / b.hi;
  const rest = subtractMultiple(a, first, b);
  const second = rest.hi / b.hi;
  const third = subtractMultiple(rest, second, b).hi / b.hi;
  return add(quickTwoSum(first, second), { hi: third, lo: 0 });
}

/** a - n * b */
export function subtractMultiple(a: DoubleDouble, n: number, b: DoubleDouble): DoubleDouble {
  return add(a, multiply({ hi: -n, lo: 0 }, b));
}

/** The factor may be any power of two that takes neither part out of the range of normal doubles. */
export function scale(a: DoubleDouble, powerOfTwo: number): DoubleDouble {
  return { hi: a.hi * powerOfTwo, lo: a.lo * powerOfTwo };
}

/** c[0] + c[1] * x + c[2] * x^2 + ..., by Horner's rule. */
export function polynomial(coefficients: readonly DoubleDouble[], x: DoubleDouble): DoubleDouble {
  return coefficients.reduceRight((sum, coefficient) => add(multiply(sum, x), coefficient));
}
