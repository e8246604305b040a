import { FltacError } from '../errors.js';
import { boundedInteger, interval } from './bounded.js';
import { beta, dirichlet, standardGamma } from './distributions.js';
import { Pcg64 } from './pcg64.js';
import { standardExponential, standardNormal } from './ziggurat.js';

/** Most elements of a permutation: indices are 32-bit integers. */
const MAX_LENGTH = 2 ** 31 - 1;

/**
 * `numpy.random.default_rng(seed)`: the same calls in the same order give the same values. An array draw of NumPy is that
 * many draws here. Follows numpy/random (BSD-3-Clause, see THIRD_PARTY_NOTICES.md).
 *
 * Bits, doubles, integers and permutations equal NumPy's to the bit everywhere. Normal, exponential, gamma, beta and
 * Dirichlet draws go through log, exp, pow and log1p, here correctly rounded (see elementary/): they equal NumPy's to the
 * bit but for last bits where its C library rounds otherwise, with glibc in about 0.1 % of cases. Checked against NumPy
 * 2.4 on x86-64 with glibc 2.36; older NumPy, which took log(1 - u) for log1p(-u), also differs in the tails and in
 * beta's underflow.
 */
export class Generator {
  private readonly bits: Pcg64;

  /**
   * @param seed an integer of 0 or more; beyond 2^53 as a bigint
   * @throws FltacError USAGE for anything else
   */
  constructor(seed: number | bigint) {
    this.bits = new Pcg64(seed);
  }

  /** `bit_generator.random_raw()`: 64 bits. */
  randomRaw(): bigint {
    return this.bits.nextUint64();
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  random(): number {
    return this.bits.nextDouble();
  }

  /**
   * Uniform integer in [low, high).
   *
   * @throws FltacError USAGE unless low < high are safe integers at most 2^53 - 1 apart
   */
  integers(low: number, high: number): number {
    const range = high - 1 - low;
    if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || !Number.isSafeInteger(range) || range < 0) {
      throw new FltacError('USAGE', `integers needs safe integers low < high, not ${low} and ${high}`);
    }
    return low + boundedInteger(this.bits, range);
  }

  standardNormal(): number {
    return standardNormal(this.bits);
  }

  standardExponential(): number {
    return standardExponential(this.bits);
  }

  /** @throws FltacError USAGE unless the shape is finite and 0 or more */
  standardGamma(shape: number): number {
    if (!(shape >= 0 && shape < Infinity)) {
      throw new FltacError('USAGE', `the shape of a gamma distribution must be 0 or more, not ${shape}`);
    }
    return standardGamma(this.bits, shape);
  }

  /** @throws FltacError USAGE unless a and b are finite and above 0 */
  beta(a: number, b: number): number {
    for (const shape of [a, b]) checkPositive(shape, 'shapes of a beta distribution');
    return beta(this.bits, a, b);
  }

  /**
   * One vector of shares that sum to 1, as long as `alpha`.
   *
   * @throws FltacError USAGE unless every alpha is finite and above 0
   */
  dirichlet(alpha: readonly number[]): Float64Array {
    for (const a of alpha) checkPositive(a, 'alphas of a Dirichlet distribution');
    return dirichlet(this.bits, alpha);
  }

  /**
   * `permutation(n)`: 0 .. n - 1 in random order.
   *
   * @throws FltacError USAGE unless n is an integer from 0 to 2^31 - 1
   */
  permutation(n: number): Int32Array {
    if (!Number.isInteger(n) || n < 0 || n > MAX_LENGTH) {
      throw new FltacError('USAGE', `the length of a permutation must be an integer from 0 to ${MAX_LENGTH}, not ${n}`);
    }
    const values = new Int32Array(n);
    for (let i = 0; i < n; i++) values[i] = i;
    this.shuffle(values);
    return values;
  }

  /** `shuffle(x)`: puts the values in random order, in place. */
  shuffle(values: Int32Array): void {
    for (let i = values.length - 1; i > 0; i--) {
      const j = interval(this.bits, i);
      const value = values[j]!;
      values[j] = values[i]!;
      values[i] = value;
    }
  }
}

function checkPositive(value: number, what: string): void {
  if (!(value > 0 && value < Infinity)) throw new FltacError('USAGE', `the ${what} must be above 0, not ${value}`);
}
