import { describe, expect, it } from 'vitest';
import { METRICS, predictionOf, type Evaluated } from '../../src/federation/metrics.js';

/** Rows of a language model with these summed losses and numbers of labelled tokens. */
function tokensOf(losses: readonly number[], targets: readonly number[]): Evaluated {
  const total = targets.reduce((sum, count) => sum + count, 0);
  return {
    labels: new Int32Array(total),
    result: {
      logits: new Float32Array(0),
      loss: losses.reduce((sum, loss) => sum + loss, 0) / total,
      exampleLosses: Float64Array.from(losses),
      exampleTargets: Int32Array.from(targets),
    },
  };
}

describe('the loss of a language model', () => {
  it('is the mean over batches of each batch’s mean over its tokens, a short last batch counting as much', () => {
    const rows = tokensOf([6, 2, 3, 9, 5], [3, 1, 3, 3, 2]);
    // (6 + 2) / 4, (3 + 9) / 6, 5 / 2
    expect(METRICS.loss.of(rows, 2, 'x')).toBeCloseTo((2 + 2 + 2.5) / 3, 12);
    expect(METRICS.loss.of(rows, 5, 'x')).toBeCloseTo(25 / 12, 12);
    expect(METRICS.loss.of(rows, 1, 'x')).toBeCloseTo((2 + 2 + 1 + 3 + 2.5) / 5, 12);
  });

  it('knows its tokens, and tells of a row its mean loss and tokens', () => {
    const rows = tokensOf([6, 2], [3, 1]);
    expect(METRICS.loss.tokens(rows.result)).toEqual({ tokens: 4 });
    expect(METRICS.loss.rowFields(rows, 0)).toEqual({ loss: 2, tokens: 3 });
  });

  it.each([NaN, Infinity])('refuses the loss %d, naming the adapter and the row', (bad) => {
    expect(() => METRICS.loss.of(tokensOf([1, bad], [1, 1]), 4, 'task open_qa, cluster 3')).toThrow(
      `the loss of task open_qa, cluster 3, row 1 is ${bad}: the training diverged`,
    );
  });
});

describe('accuracy', () => {
  const rows: Evaluated = {
    labels: Int32Array.of(1, 1, 0),
    result: {
      logits: Float32Array.of(0.1, 0.2, 2, -1, 0, 0),
      loss: 1,
      exampleLosses: new Float64Array(3),
      exampleTargets: new Int32Array(3).fill(1),
    },
  };

  it('is the share of rows whose largest logit is at the label, whatever the batches', () => {
    expect(METRICS.accuracy.of(rows, 1, 'x')).toBe(2 / 3);
    expect(METRICS.accuracy.of(rows, 64, 'x')).toBe(2 / 3);
    expect(METRICS.accuracy.tokens(rows.result)).toEqual({});
  });

  it('tells of a row its label, prediction and logits with the digits of a float32', () => {
    expect(METRICS.accuracy.rowFields(rows, 0)).toEqual({
      label: 1,
      prediction: 1,
      logits: [0.100000001, 0.200000003],
    });
    expect(METRICS.accuracy.rowFields(rows, 1)).toMatchObject({ label: 1, prediction: 0 });
  });

  it('takes the first of equal logits, as torch does', () => {
    const logits = Float32Array.of(0, 1, 1, 3, 3, 2);
    expect([predictionOf(logits, 0, 3), predictionOf(logits, 1, 3)]).toEqual([1, 0]);
  });
});
