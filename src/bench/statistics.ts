/** Summaries of repeated measurements. */

export interface Milliseconds {
  least: number;
  median: number;
  most: number;
}

/** @param times at least one, in milliseconds */
export function statistics(times: readonly number[]): Milliseconds {
  const sorted = [...times].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { least: sorted[0]!, median, most: sorted.at(-1)! };
}
