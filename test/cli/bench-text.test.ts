import { describe, expect, it } from 'vitest';
import type { KmeansBenchReport } from '../../src/bench/kmeans-report.js';
import { summariseSides, type TrainReport } from '../../src/bench/train-report.js';
import { formatKmeansBench } from '../../src/cli/kmeans-bench-text.js';
import { formatTrainBench } from '../../src/cli/train-bench-text.js';
import { measuredSide } from '../support/train-sides.js';

interface TrainCase {
  ours: readonly (readonly [seconds: number, cpuSeconds: number])[];
  theirs?: TrainCase['ours'];
  flops?: number;
  dtype?: string;
  load?: number;
  threads?: number;
}

function trainReport({ ours, theirs, flops = 1e9, dtype = 'float32', load = 0, threads = 2 }: TrainCase): TrainReport {
  const measured = [measuredSide('fltac', ours), ...(theirs ? [measuredSide('peft', theirs)] : [])];
  const gemmFlops = 1e9;
  const work = { tasks: ['sst2'], adapters: 1, steps: 1, batchSize: 8, maxLen: 64, rank: 4, tokens: 100, examples: 8 };
  return {
    machine: { cores: 2, gemmFlops, load: { average: load, cores: 2 } },
    model: { id: 'some', numLayers: 6, hiddenSize: 384, randomWeights: false },
    work: { ...work, dtype, threads, flops, repeat: ours.length },
    sides: summariseSides(measured, { ...work, flops }, gemmFlops),
    absent: [],
    agreement: [],
  } as unknown as TrainReport;
}

const trainText = (settings: TrainCase) => formatTrainBench(trainReport(settings), 'plain');
const STEADY = [
  [2, 4],
  [2.2, 4],
  [2.4, 4.4],
] as const;

describe('the text of bench train', () => {
  it('has least and most of the times and the ratio of CPU time', () => {
    const theirs = STEADY.map(([seconds, cpu]) => [seconds * 3, cpu * 4] as const);
    const text = trainText({ ours: STEADY, theirs });
    expect(text).toMatch(/time +least +most .*x fltac +x fltac's CPU/);
    expect(text).toMatch(/^fltac +2\.20 s +2\.00 s +2\.40 s/m);
    expect(text).toMatch(/^peft, padded to the longest +6\.60 s +6\.00 s +7\.20 s .* 3\.00 +4\.00$/m);
    expect(text).not.toContain('WARNING');
  });

  it('says threads and cores, and counts one of a thing as one', () => {
    expect(trainText({ ours: [[2, 4]], threads: 64 })).toMatch(
      /; 64 threads on 2 cores, .*\nsst2: 1 step of 8, .*; one run\n/,
    );
    expect(trainText({ ours: [[2, 2]], threads: 1 })).toMatch(/; 1 thread on 2 cores/);
  });

  it.each<[string, Partial<TrainCase>, RegExp]>([
    ['a load above the cores', { load: 4.8 }, /the load was 4\.8 on 2 cores as it began$/m],
    [
      'a wide spread',
      {
        theirs: [
          [2, 4],
          [3.2, 4],
          [2, 4],
        ],
      },
      /peft, padded to the longest: its longest run took 1\.6 times its shortest$/m,
    ],
    [
      'waiting for a CPU',
      {
        ours: [
          [2, 2],
          [2, 2],
          [2, 2],
        ],
      },
      /: fltac: 2\.00 s with 2\.00 s of CPU time on 2 threads$/m,
    ],
  ])('warns of %s in one line', (_, settings, reason) => {
    const text = trainText({ ours: STEADY, ...settings });
    expect(text).toMatch(reason);
    expect(text.match(/^WARNING: these figures cannot be trusted/gm)).toHaveLength(1);
  });

  it('does not take threads beyond the cores for waiting', () => {
    expect(trainText({ ours: STEADY, threads: 64 })).not.toContain('WARNING');
  });

  it('says that the rate was measured lower where float32 comes out above all of it', () => {
    const note = 'utilisation above 100 %: the rate of the float32 product was measured lower';
    expect(trainText({ ours: STEADY, flops: 3e9 })).toContain(note);
    expect(trainText({ ours: STEADY, flops: 1e9 })).not.toContain(note);
    expect(trainText({ ours: STEADY, flops: 3e9, dtype: 'bfloat16' })).not.toContain(note);
  });
});

function kmeansReport(
  dataBytes: number,
  milliseconds: number,
  more: Partial<KmeansBenchReport> = {},
): KmeansBenchReport {
  const shape = { batch: 1, rows: 50, columns: 1000, k: 5, nInit: 1, maxIter: 300 };
  const rates = { copyBytesPerSecond: 1e10, readBytesPerSecond: 1e10, gemm32: 1e11, gemm64: 5e10 };
  const result = {
    side: 'fltac',
    milliseconds: { least: milliseconds, median: milliseconds, most: milliseconds },
    ratio: 1,
    inertia: 1,
    inertiaRatio: 1,
    iterations: 3,
    bytesPerSecond: 1e9,
    passes: 2,
    peakBytes: 0,
    baseBytes: 0,
    path: 'gram',
    gram: 'float32',
  };
  return {
    machine: { cpu: 'a CPU', cores: 2, threads: 64, gpu: null, rates },
    settings: { repeat: 1, seed: 1, tol: 1e-4 },
    sides: [],
    shapes: [{ shape, dataBytes, gramBoundSeconds: 0.01, results: [result] }],
    ...more,
  } as unknown as KmeansBenchReport;
}

describe('the text of bench kmeans', () => {
  it.each([
    ['with both bounds', 2e6, 5, true],
    ['without bounds of few data', 9e5, 5, false],
    ['without bounds of a short time', 2e6, 0.9, false],
  ])('is %s', (_, bytes, milliseconds, has) => {
    const text = formatKmeansBench(kmeansReport(bytes, milliseconds), 'plain');
    expect(text.includes('% of the rate of a copy')).toBe(has);
    expect(text.includes('One reading and the Gram product')).toBe(has);
  });

  it('says threads and cores, and counts one start as one', () => {
    expect(formatKmeansBench(kmeansReport(1, 1), 'plain')).toMatch(/64 threads on 2 cores;[^]*, 1 start:/);
  });

  it('names what was not measured', () => {
    const unmeasured = [{ batch: 1, rows: 80, columns: 7, k: 8, nInit: 10, maxIter: 300 }];
    const text = formatKmeansBench(kmeansReport(1, 1, { partial: { unmeasured } }), 'plain');
    expect(text).toContain('Stopped; not measured: 80 x 7, k 8, 10 starts.');
  });
});
