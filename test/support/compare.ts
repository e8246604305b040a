import { expect } from 'vitest';

/** Largest and mean absolute difference; both arrays must be finite and of one length. */
export function difference(found: ArrayLike<number>, expected: ArrayLike<number>): { max: number; mean: number } {
  expect(found.length).toBe(expected.length);
  let max = 0;
  let sum = 0;
  for (let i = 0; i < found.length; i++) {
    const gap = Math.abs(found[i]! - expected[i]!);
    // NaN fails every comparison, so it has to be refused by itself.
    if (!Number.isFinite(gap)) throw new Error(`value ${i} is ${found[i]!}, expected ${expected[i]!}`);
    max = Math.max(max, gap);
    sum += gap;
  }
  return { max, mean: found.length === 0 ? 0 : sum / found.length };
}

/** Largest absolute value. */
export function largest(array: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < array.length; i++) max = Math.max(max, Math.abs(array[i]!));
  return max;
}
