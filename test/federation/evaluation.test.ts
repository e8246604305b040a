import { describe, expect, it } from 'vitest';
import { evaluateHoldings, type Holding } from '../../src/federation/evaluation.js';
import { silentLog } from '../../src/run/log.js';
import { FAKE_LAYOUT, FakeBank, FakeEngine, target } from '../support/fake-engine.js';
import { fakeTasks } from '../support/fake-scenario.js';

const tasks = fakeTasks({ sst2: 100, mrpc: 100, rte: 100 });

function setup() {
  const engine = new FakeEngine();
  const bank = new FakeBank(3);
  bank.set(0, target(1));
  bank.set(1, new Float32Array(FAKE_LAYOUT.size).fill(50));
  bank.set(2, target(2));
  const asked: number[][] = [];
  const evaluate = engine.evaluate.bind(engine);
  engine.evaluate = (of, jobs) => {
    asked.push(jobs.map((job) => job.row));
    return evaluate(of, jobs);
  };
  const run = (holdings: readonly Holding[]) =>
    evaluateHoldings({ engine, bank, tasks, metric: 'accuracy', holdings, limit: 16, batchSize: 8, log: silentLog() });
  return { engine, bank, asked, run };
}

describe('evaluation', () => {
  it('takes each (task, cluster) pair once and weighs it by its holders samples', async () => {
    const { asked, run } = setup();
    const { scores, pairs } = await run([
      { task: 0, cluster: 0, row: 0, samples: 10 },
      { task: 0, cluster: 0, row: 0, samples: 20 },
      { task: 0, cluster: 1, row: 1, samples: 10 },
      { task: 1, cluster: 2, row: 2, samples: 7 },
    ]);
    expect(asked).toEqual([[0, 1, 2]]);
    expect(pairs.map(({ task, cluster, metric }) => [task, cluster, metric])).toEqual([
      [0, 0, 1],
      [0, 1, 0.5],
      [1, 2, 1],
    ]);
    // 30 of 40 samples are with the adapter that is always right, 10 with the one that is right for half of the rows.
    expect(scores[0]).toMatchObject({ task: 'sst2', metric: 0.875, rows: 16, adapters: 2 });
    expect(scores[1]).toMatchObject({ task: 'mrpc', metric: 1, adapters: 1 });
  });

  it('leaves a task that nobody holds out', async () => {
    const { run } = setup();
    const { scores } = await run([{ task: 1, cluster: 0, row: 2, samples: 7 }]);
    expect(scores.map((entry) => entry.task)).toEqual(['mrpc']);
  });

  it('refuses logits that are not finite', async () => {
    const { engine, run } = setup();
    engine.evaluate = (_, jobs) =>
      Promise.resolve(
        jobs.map(({ examples: { labels } }) => ({
          logits: new Float32Array(2 * labels.length).fill(NaN),
          loss: 1,
          exampleLosses: new Float64Array(labels.length).fill(1),
          exampleTargets: new Int32Array(labels.length).fill(1),
        })),
      );
    await expect(run([{ task: 0, cluster: 3, row: 0, samples: 1 }])).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringContaining('task sst2, cluster 3') as string,
    });
  });
});
