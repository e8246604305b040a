import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { resolveThreads } from '../../src/engine/threads.js';

describe('the number of threads', () => {
  it('is the configured one, whatever OMP_NUM_THREADS says', () => {
    expect(resolveThreads(3, { OMP_NUM_THREADS: '7' })).toBe(3);
  });

  it.each([
    ['7', 7],
    [' 12 ', 12],
  ])('is that of OMP_NUM_THREADS=%j where none is configured', (text, threads) => {
    expect(resolveThreads(0, { OMP_NUM_THREADS: text })).toBe(threads);
  });

  it.each([undefined, '', '0', '-2', '1.5', '4,2', 'many'])('is that of the cores with OMP_NUM_THREADS=%j', (text) => {
    expect(resolveThreads(0, text === undefined ? {} : { OMP_NUM_THREADS: text })).toBe(availableParallelism());
  });
});
