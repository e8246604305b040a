/** Summaries of repeated measurements. */

export interface Milliseconds {
  least: number;
  median: number;
  most: number;
}

/** @param times at least one, in milliseconds */
export function statistics(times: readonly number[]): Milliseconds {
  return { least: Math.min(...times), median: median(times), most: Math.max(...times) };
}

/** @param values at least one */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
