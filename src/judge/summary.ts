/** Means of scores, with what is known of their uncertainty. */
import { streamGenerator } from '../federation/streams.js';

export interface ScoreSummary {
  /** mean of the scores; null where there is none */
  mean: number | null;
  /** 95 % confidence interval of the mean; null for fewer than 2 scores */
  interval: readonly [low: number, high: number] | null;
}

const RESAMPLES = 10_000;
const COVERED = 0.95;

/**
 * Mean and percentile bootstrap interval (Efron 1979): of 10,000 means of as many scores drawn with replacement, the 2.5
 * and 97.5 percentiles. The draws come from a stream named by `name`, so equal scores in equal order give equal intervals.
 */
export function summarise(scores: readonly number[], name: string): ScoreSummary {
  if (scores.length === 0) return { mean: null, interval: null };
  const mean = meanOf(scores);
  if (scores.length === 1) return { mean, interval: null };
  const generator = streamGenerator(0, 'judge', name);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let i = 0; i < scores.length; i += 1) sum += scores[generator.integers(0, scores.length)]!;
    return sum / scores.length;
  }).sort();
  const tail = (1 - COVERED) / 2;
  return { mean, interval: [quantile(means, tail), quantile(means, 1 - tail)] };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of sorted values, with linear interpolation. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const next = sorted[Math.min(low + 1, sorted.length - 1)]!;
  return sorted[low]! + (at - low) * (next - sorted[low]!);
}
