// Follows NumPy's random/src/distributions/distributions.c (BSD-3-Clause; see THIRD_PARTY_NOTICES.md).
import { exp, log, log1p, pow } from './elementary/index.js';
import type { Pcg64 } from './pcg64.js';
import { standardExponential, standardNormal } from './ziggurat.js';

/** Below this, 1/shape overflows in Johnk's method (NumPy's BETA_TINY_THRESHOLD). */
const TINY_SHAPE = 3e-103;
/** Dirichlet draws whose largest alpha is below this break a stick: gammas of tiny shapes underflow to 0 together. */
const STICK_BREAKING_BELOW = 0.1;

/** Gamma with scale 1, as NumPy's `standard_gamma`; shape >= 0. */
export function standardGamma(bits: Pcg64, shape: number): number {
  if (shape === 1) return standardExponential(bits);
  if (shape === 0) return 0;
  return shape < 1 ? gammaBelowOne(bits, shape) : gammaAboveOne(bits, shape);
}

/** Rejection from two pieces (Ahrens and Dieter's GS with an exponential draw). */
function gammaBelowOne(bits: Pcg64, shape: number): number {
  for (;;) {
    const u = bits.nextDouble();
    const v = standardExponential(bits);
    if (u <= 1 - shape) {
      const x = pow(u, 1 / shape);
      if (x <= v) return x;
    } else {
      const y = -log((1 - u) / shape);
      const x = pow(1 - shape + shape * y, 1 / shape);
      if (x <= v + y) return x;
    }
  }
}

/** Marsaglia and Tsang, "A simple method for generating gamma variables" (2000). */
function gammaAboveOne(bits: Pcg64, shape: number): number {
  const b = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * b);
  for (;;) {
    let x: number;
    let root: number;
    do {
      x = standardNormal(bits);
      root = 1 + c * x;
    } while (root <= 0);
    const v = root * root * root;
    const u = bits.nextDouble();
    if (u < 1 - 0.0331 * (x * x) * (x * x)) return b * v;
    if (log(u) < 0.5 * x * x + b * (1 - v + log(v))) return b * v;
  }
}

/** Beta, as NumPy's Generator draws it; a and b above 0. */
export function beta(bits: Pcg64, a: number, b: number): number {
  if (a > 1 || b > 1) {
    const x = standardGamma(bits, a);
    const y = standardGamma(bits, b);
    return x / (x + y);
  }
  if (a < TINY_SHAPE && b < TINY_SHAPE) return (a + b) * bits.nextDouble() < a ? 1 : 0;
  // Johnk (1964)
  for (;;) {
    const u = bits.nextDouble();
    const v = bits.nextDouble();
    const x = pow(u, 1 / a);
    const y = pow(v, 1 / b);
    if (x + y > 1 || u + v === 0) continue;
    return x > 0 && y > 0 ? x / (x + y) : shareOfUnderflown(log(u) / a - log(v) / b);
  }
}

/** x / (x + y) where one of them underflowed; delta = log x - log y. */
function shareOfUnderflown(delta: number): number {
  return delta > 0 ? exp(-log1p(exp(-delta))) : exp(delta - log1p(exp(delta)));
}

/** One Dirichlet vector, as NumPy's `dirichlet(alpha)`; every alpha above 0. */
export function dirichlet(bits: Pcg64, alpha: readonly number[]): Float64Array {
  const small = alpha.every((a) => a < STICK_BREAKING_BELOW);
  return small ? breakStick(bits, alpha) : normalisedGammas(bits, alpha);
}

function normalisedGammas(bits: Pcg64, alpha: readonly number[]): Float64Array {
  const values = Float64Array.from(alpha, (a) => standardGamma(bits, a));
  let sum = 0;
  for (const value of values) sum += value;
  const inverse = 1 / sum;
  return values.map((value) => value * inverse);
}

/** Each part takes a beta share of what the parts before it left. */
function breakStick(bits: Pcg64, alpha: readonly number[]): Float64Array {
  const n = alpha.length;
  const values = new Float64Array(n);
  const sums = new Float64Array(n + 1); // sums[j] = alpha[j] + ... + alpha[n - 1]
  for (let j = n - 1; j >= 0; j--) sums[j] = sums[j + 1]! + alpha[j]!;
  let left = 1;
  for (let j = 0; j < n - 1; j++) {
    const share = beta(bits, alpha[j]!, sums[j + 1]!);
    values[j] = left * share;
    left *= 1 - share;
  }
  if (n > 0) values[n - 1] = left;
  return values;
}
