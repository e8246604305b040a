import { describe, expect, it } from 'vitest';
import { compareLosses, summariseSides } from '../../src/bench/train-report.js';
import { measuredSide as side } from '../support/train-sides.js';

describe('sides of a training benchmark', () => {
  const work = { examples: 64, tokens: 1000, flops: 6e9 };

  it('tells speed and use of the machine by the median run', () => {
    const [ours] = summariseSides(
      [
        side('fltac', [
          [2, 3],
          [4, 7],
          [3, 5],
        ]),
      ],
      work,
      4e9,
    );
    expect(ours).toMatchObject({
      seconds: { least: 2, median: 3, most: 4 },
      cpuSeconds: 5,
      ratio: null,
      cpuRatio: null,
    });
    expect(ours!.tokensPerSecond).toBeCloseTo(1000 / 3);
    expect(ours!.examplesPerSecond).toBeCloseTo(64 / 3);
    expect(ours!.flopUtilisation).toBeCloseTo(0.5);
  });

  it('takes a ratio within each round, so that a slow spell of the machine cancels', () => {
    const ours = side('fltac', [
      [1, 1],
      [10, 1],
      [1, 1],
    ]);
    const peer = side('peft', [
      [3, 2],
      [30, 4],
      [4, 3],
    ]);
    const [, second] = summariseSides([ours, peer], work, 1);
    expect(second).toMatchObject({ ratio: 3, cpuRatio: 3 });
  });

  it('counts no utilisation where the operations are not counted', () => {
    expect(summariseSides([side('fltac', [[1, 1]])], { ...work, flops: null }, 1)[0]!.flopUtilisation).toBeNull();
  });
});

describe('losses of two loops', () => {
  const peer = { peer: 'peft', padding: 'longest' } as const;

  it('agree where every step is within the tolerance of the type', () => {
    expect(compareLosses(peer, 'float32', [0.7, 0.5], [0.7001, 0.4996])).toMatchObject({ steps: 2, agrees: true });
    expect(compareLosses(peer, 'float32', [0.7, 0.5], [0.7, 0.52])).toMatchObject({ agrees: false });
    expect(compareLosses(peer, 'bfloat16', [0.7, 0.5], [0.7, 0.52])).toMatchObject({ agrees: true });
  });

  it('do not agree over NaN or a step that is missing', () => {
    expect(compareLosses(peer, 'float32', [0.7, NaN], [0.7, NaN]).agrees).toBe(false);
    expect(compareLosses(peer, 'float32', [0.7, 0.5], [0.7]).agrees).toBe(false);
  });
});
