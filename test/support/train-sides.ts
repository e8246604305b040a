import type { MeasuredSide } from '../../src/bench/train-report.js';

/** A side of a training benchmark whose runs took so many seconds, of the clock and of CPUs. */
export function measuredSide(name: 'fltac' | 'peft', runs: readonly (readonly [number, number])[]): MeasuredSide {
  return {
    name,
    padding: name === 'fltac' ? 'none' : 'longest',
    versions: {},
    computedTokens: 0,
    peakBytes: null,
    runs: runs.map(([seconds, cpuSeconds]) => ({ seconds, cpuSeconds })),
  };
}
