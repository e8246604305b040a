import { expect, it, vi } from 'vitest';
import { benchTrain } from '../../src/bench/train.js';
import { run } from './support.js';

vi.mock('../../src/bench/train.js', () => ({ benchTrain: vi.fn(() => Promise.reject(new Error('not run'))) }));

it.each([
  [[], undefined],
  [
    ['--override', 'tasks=sst2,rte'],
    ['sst2', 'rte'],
  ],
  [['--override', 'tasks=sst2,rte', '--tasks', 'qnli'], ['qnli']],
])('bench train takes the tasks that are given: %j', async (argv, tasks) => {
  await run('bench', 'train', '--scenario', 'glue', ...argv);
  expect(vi.mocked(benchTrain).mock.lastCall?.[1]).toMatchObject({ tasks });
});
