/** What tasks are measured by, as a table. */
import type { MetricName } from '../data/scenario.js';
import { majorityShare } from '../data/table.js';
import type { EvaluateResult } from '../engine/types.js';
import { FltacError } from '../errors.js';

/** An evaluation of some rows with one adapter. */
export interface Evaluated {
  readonly result: EvaluateResult;
  /** classes of the rows, or a language model's targets of each token */
  readonly labels: Int32Array;
}

export interface Metric {
  /** completes "fltac …" at the head of a column */
  readonly title: string;
  readonly lowerIsBetter: boolean;
  /**
   * The metric of some rows.
   * @param batchSize rows of one evaluation batch
   * @param what names the adapter and task in an error
   * @throws FltacError NON_FINITE
   */
  of(evaluated: Evaluated, batchSize: number, what: string): number;
  /** share of the most frequent label of the rows; null where there are no classes */
  floor(evaluated: Evaluated): number | null;
  /** labelled tokens, where the metric is over tokens */
  tokens(result: EvaluateResult): { tokens?: number };
  /** what --predictions tells of one row */
  rowFields(evaluated: Evaluated, row: number): Readonly<Record<string, number | readonly number[]>>;
}

export const METRICS: Readonly<Record<MetricName, Metric>> = {
  accuracy: {
    title: 'accuracy',
    lowerIsBetter: false,
    of: accuracyOf,
    floor: ({ labels }) => majorityShare(labels),
    tokens: () => ({}),
    rowFields: ({ result: { logits }, labels }, row) => {
      const classes = logits.length / labels.length;
      const own = Array.from(logits.subarray(row * classes, (row + 1) * classes), shortest);
      return { label: labels[row]!, prediction: predictionOf(logits, row, classes), logits: own };
    },
  },
  loss: {
    title: 'loss',
    lowerIsBetter: true,
    of: batchMeanLoss,
    floor: () => null,
    tokens: ({ exampleTargets }) => ({ tokens: sumOf(exampleTargets) }),
    rowFields: ({ result: { exampleLosses, exampleTargets } }, row) => ({
      loss: exampleLosses[row]! / exampleTargets[row]!,
      tokens: exampleTargets[row]!,
    }),
  },
};

/** Number of evaluated rows. */
export function rowsOf({ result }: Evaluated): number {
  return result.exampleTargets.length;
}

/** Index of the largest of `classes` logits of one row; the first of equals, as torch's argmax. */
export function predictionOf(logits: Float32Array, row: number, classes: number): number {
  let best = 0;
  for (let c = 1; c < classes; c += 1) {
    if (logits[row * classes + c]! > logits[row * classes + best]!) best = c;
  }
  return best;
}

/** Share of rows whose largest logit is at the label. */
function accuracyOf({ result: { logits }, labels }: Evaluated, _: number, what: string): number {
  const bad = logits.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new FltacError('NON_FINITE', `a logit of ${what} is ${logits[bad]!}: the training diverged`);
  const classes = logits.length / labels.length;
  let right = 0;
  labels.forEach((label, row) => {
    if (predictionOf(logits, row, classes) === label) right += 1;
  });
  return right / labels.length;
}

/**
 * A language model's loss as the published code takes it: of each batch of `batchSize` rows (the last may be short) the
 * mean over its labelled tokens, then the mean over the batches. The mean over all tokens is the evaluation's `loss`.
 */
function batchMeanLoss(
  { result: { exampleLosses, exampleTargets } }: Evaluated,
  batchSize: number,
  what: string,
): number {
  const bad = exampleLosses.findIndex((loss) => !Number.isFinite(loss));
  if (bad >= 0) {
    throw new FltacError(
      'NON_FINITE',
      `the loss of ${what}, row ${bad} is ${exampleLosses[bad]!}: the training diverged`,
    );
  }
  let total = 0;
  let batches = 0;
  for (let from = 0; from < exampleLosses.length; from += batchSize, batches += 1) {
    const tokens = sumOf(exampleTargets.subarray(from, from + batchSize));
    total += sumOf(exampleLosses.subarray(from, from + batchSize)) / tokens;
  }
  return total / batches;
}

/** Nine digits tell every float32 from its neighbours. */
function shortest(value: number): number {
  return Number(value.toPrecision(9));
}

function sumOf(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
