import { describe, expect, it } from 'vitest';
import type { TrainOutcome } from '../../src/run/outcome.js';
import { bytes, formatOutcome } from '../../src/run/table.js';

const UPLOAD = { adapterValues: 10, bytesPerAdapter: 40, meanBytes: 61440, mostBytes: 122880, totalBytes: 307200 };

const OUTCOME: TrainOutcome = {
  method: 'fltac',
  folder: '/somewhere',
  scenario: 'glue',
  metric: 'accuracy',
  initialAdapter: null,
  rounds: 3,
  clusteringAccuracy: 0.95,
  ari: 0.9,
  optimizerSteps: 100,
  upload: UPLOAD,
  totals: { optimizerSteps: 300, bytesUp: 921600, bytesDown: 921600 },
  seconds: 1,
  tasks: [
    { task: 'sst2', metric: 0.8741, majorityFloor: 0.5092, untuned: 0.4908, baseline: 0.652 },
    { task: 'rte', metric: null, majorityFloor: 0.527, untuned: null, baseline: null },
  ],
  baseline: {
    method: 'fedit',
    folder: '/somewhere/baseline_fedit',
    rounds: 3,
    clusteringAccuracy: null,
    ari: null,
    optimizerSteps: 26,
    upload: { ...UPLOAD, meanBytes: 40, mostBytes: 40 },
    totals: { optimizerSteps: 78, bytesUp: 600, bytesDown: 600 },
    seconds: 1,
  },
};

describe('the final table', () => {
  it('shows each metric beside its floor, the untuned backbone and the baseline, then the cost', () => {
    expect(formatOutcome(OUTCOME, 'plain')).toBe(
      [
        'task  fltac accuracy  majority floor  untuned backbone  fedit accuracy',
        'sst2           0.874           0.509             0.491           0.652',
        'rte                -           0.527                 -               -',
        '',
        '                                       fltac  fedit',
        'clustering accuracy, last round        0.950      -',
        'optimizer steps a round                  100     26',
        'bytes up per client and round, mean   61,440     40',
        '  of the client that sends most      122,880     40',
        'optimizer steps, all rounds              300     78',
        'bytes up, all rounds                 921,600    600',
        'bytes down, all rounds               921,600    600',
        '',
      ].join('\n'),
    );
  });

  it('does not call a start from an initial adapter untuned', () => {
    const [head] = formatOutcome({ ...OUTCOME, initialAdapter: 'adapter' }, 'plain').split('\n');
    expect(head).toBe('task  fltac accuracy  majority floor  before training  fedit accuracy');
  });

  it('of a language model says that a lower loss is better, and has no floor', () => {
    const tasks = [{ task: 'open_qa', metric: 2.5, majorityFloor: null, untuned: 7.75, baseline: 2.75 }];
    const lines = formatOutcome({ ...OUTCOME, metric: 'loss', tasks }, 'plain').split('\n');
    expect(lines.slice(0, 4)).toEqual([
      'task     fltac loss  untuned backbone  fedit loss',
      'open_qa       2.500             7.750       2.750',
      'loss: lower is better',
      '',
    ]);
  });

  it('has no column for a baseline that was not run', () => {
    const { baseline, ...alone } = OUTCOME;
    expect(baseline?.method).toBe('fedit');
    expect(formatOutcome(alone, 'plain')).not.toContain('fedit');
  });

  it('draws lines on a terminal, without colour', () => {
    const text = formatOutcome(OUTCOME, 'drawn');
    expect(text).toContain('│');
    expect(text).not.toContain('\u001b');
  });

  it('sets thousands apart', () => {
    expect([0, 999, 1000, 1234567.4].map(bytes)).toEqual(['0', '999', '1,000', '1,234,567']);
  });
});
