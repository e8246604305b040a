import { expect, it } from 'vitest';
import { CohortExecutor, type LocalJob, type LocalProgress } from '../../src/federation/executor.js';
import { FakeEngine } from '../support/fake-engine.js';
import { fakeTask } from '../support/fake-scenario.js';

it('tells how far a round is: a client is done with the last part of its last job', async () => {
  const tasks = [fakeTask('a', 1, 40), fakeTask('b', 2, 40)];
  const parts = tasks.map((task) => ({ task, rows: Int32Array.from({ length: 20 }, (_, i) => i), steps: 3 }));
  // Client 0 has two adapters, client 1 one adapter for both tasks, client 2 one for one.
  const jobs: LocalJob[] = [
    { client: 0, slot: 0, row: 0, samples: 20, parts: [parts[0]!] },
    { client: 0, slot: 1, row: 1, samples: 20, parts: [parts[1]!] },
    { client: 1, slot: 0, row: 2, samples: 40, parts },
    { client: 2, slot: 0, row: 3, samples: 20, parts: [parts[0]!] },
  ];
  const engine = new FakeEngine();
  const bank = engine.createBank({} as never, jobs.length);
  jobs.forEach(({ row }) => bank.initialise(row, BigInt(row)));
  const settings = { seed: 1, lr: 0.1, weightDecay: 0, batchSize: 4, cohort: 1, onClientFailure: 'stop' as const };
  const told: LocalProgress[] = [];
  await new CohortExecutor(engine, bank, settings).run(1, jobs, { onProgress: (progress) => told.push(progress) });
  // Waves: each job's first part in turn, then the second part of client 1.
  const byStep = new Map(told.map(({ steps, clients }) => [steps, clients]));
  expect([0, 3, 6, 9, 12, 15].map((steps) => byStep.get(steps))).toEqual([0, 0, 1, 1, 2, 3]);
  expect(told[0]!.loss).toBeNull();
  expect(told.at(-1)!.loss).toBeGreaterThan(0);
});

it('tells the loss of the others where a client has failed', async () => {
  const task = fakeTask('a', 1, 40);
  const rows = Int32Array.from({ length: 20 }, (_, i) => i);
  const jobs = [0, 1].map((client): LocalJob => ({
    client,
    slot: 0,
    row: client,
    samples: 20,
    parts: [{ task, rows, steps: 3 }],
  }));
  const engine = new FakeEngine();
  const bank = engine.createBank({} as never, jobs.length);
  jobs.forEach(({ row }) => bank.initialise(row, BigInt(row)));
  const train = engine.train.bind(engine);
  engine.train = async (...args) => {
    const results = await train(...args);
    return results.map((result, i) => (args[1][i]!.row === 0 ? { losses: Float64Array.of(1, NaN, NaN) } : result));
  };
  const settings = { seed: 1, lr: 0.1, weightDecay: 0, batchSize: 4, cohort: 1, onClientFailure: 'exclude' as const };
  const told: LocalProgress[] = [];
  const { reports } = await new CohortExecutor(engine, bank, settings).run(1, jobs, {
    onProgress: (progress) => told.push(progress),
  });
  const losses = [...reports[0]!.losses];
  expect(told.find(({ steps }) => steps === 3)!.loss).toBeNull();
  expect(told.at(-1)!.loss).toBeCloseTo(losses.reduce((sum, loss) => sum + loss, 0) / 3, 12);
});
