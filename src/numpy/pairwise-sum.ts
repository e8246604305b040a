// Follows NumPy's pairwise summation in _core/src/umath (BSD-3-Clause; see THIRD_PARTY_NOTICES.md).
/** Above this many values a sum is split in two; below it, eight partial sums run beside each other. */
const BLOCK = 128;
const LANES = 8;

/** `numpy.sum` of contiguous float64 values, to the bit: NumPy adds pairwise, not from left to right. */
export function pairwiseSum(values: Float64Array): number {
  const n = values.length;
  if (n < LANES) return values.reduce((sum, value) => sum + value, 0);
  if (n > BLOCK) {
    const middle = Math.floor(n / 2);
    const half = middle - (middle % LANES);
    return pairwiseSum(values.subarray(0, half)) + pairwiseSum(values.subarray(half));
  }
  const r = values.slice(0, LANES);
  const whole = n - (n % LANES);
  for (let i = LANES; i < whole; i++) r[i % LANES]! += values[i]!;
  const sum = r[0]! + r[1]! + (r[2]! + r[3]!) + (r[4]! + r[5]! + (r[6]! + r[7]!));
  return values.subarray(whole).reduce((total, value) => total + value, sum);
}
