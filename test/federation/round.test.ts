import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import { Federation, type FederationSettings } from '../../src/federation/round.js';
import { silentLog, type Log } from '../../src/run/log.js';
import { FAKE_LAYOUT, FakeEngine } from '../support/fake-engine.js';
import { fakeTasks, rowsOfCounts } from '../support/fake-scenario.js';

const SETTINGS: FederationSettings = {
  method: 'fltac',
  seed: 42,
  rounds: 3,
  localSteps: 4,
  lr: 0.02,
  weightDecay: 0.01,
  batchSize: 4,
  evalEvery: 2,
  maxEvalBatches: 5,
  evalBatchSize: 8,
  weights: 'samples',
  feditSteps: 'published',
  kmeansK: 'tasks',
  kmeansSpace: 'parameters',
  kmeansMetric: 'euclidean',
  kmeansStandardize: false,
  kmeansNInit: 10,
  kmeansMaxIter: 300,
  kmeansTol: 1e-4,
};

const SPEC = { rank: 1, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };

const COUNTS = [
  [10, 20, 30],
  [40, 0, 60],
  [70, 80, 0],
  [0, 90, 15],
];

interface Made {
  federation: Federation;
  engine: FakeEngine;
  warnings: string[];
}

function make(changes: Partial<FederationSettings> = {}, counts = COUNTS, cohort = 4): Made {
  const engine = new FakeEngine();
  const warnings: string[] = [];
  const log: Log = { ...silentLog(), warn: (message) => void warnings.push(message) };
  const federation = Federation.create({
    engine,
    spec: SPEC,
    tasks: fakeTasks({ sst2: 120, mrpc: 190, rte: 105 }),
    metric: 'accuracy',
    rows: rowsOfCounts(counts),
    settings: { ...SETTINGS, ...changes },
    cohort,
    log,
  });
  return { federation, engine, warnings };
}

const values = (federation: Federation) => [...federation.clusterStates().values()].map((state) => [...state]);

describe('a round of FL-TAC', () => {
  it('with full participation and perfect clustering leaves one adapter a task in all its holders', async () => {
    const { federation, engine } = make();
    const { assignment } = await federation.round(1);
    expect([assignment.clusteringAccuracy, assignment.ari, assignment.clusters]).toEqual([1, 1, 3]);
    const bank = engine.banks[0]!;
    for (const task of [0, 1, 2]) {
      const rows = federation.holdings().filter((holding) => holding.task === task);
      for (const { row } of rows) expect(bank.get(row)).toEqual(bank.get(rows[0]!.row));
    }
  });

  it('reports submissions by client and listed task, with the samples behind them', async () => {
    const { federation } = make();
    const { assignment, local } = await federation.round(1);
    expect(assignment.clients).toEqual([0, 0, 0, 1, 1, 2, 2, 3, 3]);
    expect(assignment.trueTasks).toEqual(['sst2', 'mrpc', 'rte', 'sst2', 'rte', 'sst2', 'mrpc', 'mrpc', 'rte']);
    expect(assignment.samples).toEqual([10, 20, 30, 40, 60, 70, 80, 90, 15]);
    expect(local.map((report) => [report.client, report.task, report.samples])).toEqual(
      assignment.clients.map((client, i) => [client, assignment.trueTasks[i], assignment.samples[i]]),
    );
  });

  it('gives the clustering the adapters by client and slot, not by listed task', async () => {
    const { federation, engine } = make();
    const seen: number[][] = [];
    const kmeans = engine.kmeans.bind(engine);
    engine.kmeans = (bank, options) => {
      seen.push([...options.rows]);
      return kmeans(bank, options);
    };
    await federation.round(1);
    expect(seen).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    const rows = federation.plan.adapters.map((adapter) => adapter.row);
    expect(rows).not.toEqual([...rows].sort((a, b) => a - b));
  });

  it('equals the oracle, value for value, when the clusters are right', async () => {
    const found = make();
    const told = make({ method: 'oracle' });
    for (const round of [1, 2, 3]) {
      const a = await found.federation.round(round);
      const b = await told.federation.round(round);
      expect(a.assignment.clusteringAccuracy).toBe(1);
      expect(a.scores).toEqual(b.scores);
    }
    const rows = (made: Made) => made.engine.banks[0]!.values;
    expect(rows(found)).toEqual(rows(told));
  });

  it('does not depend on the cohort', async () => {
    const alone = make({}, COUNTS, 1);
    const wide = make({}, COUNTS, 100);
    for (const round of [1, 2]) {
      await alone.federation.round(round);
      await wide.federation.round(round);
    }
    expect(alone.engine.waves.every((wave) => wave.length === 1)).toBe(true);
    expect(wide.engine.waves.map((wave) => wave.length)).toEqual([9, 9]);
    expect(values(alone.federation)).toEqual(values(wide.federation));
  });

  it('is the same twice and another with another seed', async () => {
    const states = [];
    for (const seed of [42, 42, 43]) {
      const { federation } = make({ seed });
      await federation.round(1);
      states.push(values(federation));
    }
    expect(states[0]).toEqual(states[1]);
    expect(states[0]).not.toEqual(states[2]);
  });

  it('evaluates every eval_every rounds and after the last, each distinct adapter once', async () => {
    const { federation } = make();
    const scored = [];
    for (const round of [1, 2, 3]) scored.push((await federation.round(round)).scores);
    expect(scored.map((scores) => scores?.length)).toEqual([undefined, 3, 3]);
    expect(scored[2]!.map(({ task, adapters, rows }) => [task, adapters, rows])).toEqual([
      ['sst2', 1, 40],
      ['mrpc', 1, 40],
      ['rte', 1, 40],
    ]);
    const before = await make().federation.evaluate();
    scored[2]!.forEach((entry, i) => expect(entry.metric).toBeGreaterThan(before[i]!.metric));
  });

  it('with no more adapters than tasks averages nothing and says so once', async () => {
    const { federation, warnings } = make({}, [
      [5, 0, 0],
      [0, 5, 5],
    ]);
    const first = await federation.round(1);
    await federation.round(2);
    expect(first.assignment.labels).toEqual(federation.plan.adapters.map((adapter) => adapter.row));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/3 adapters for K = 3 clusters/);
  });
});

describe('the other methods', () => {
  it('fedit trains one adapter a client over its tasks in alphabetical order and averages all of them', async () => {
    const { federation, engine } = make({ method: 'fedit', localSteps: 7 });
    const { local, optimizerSteps, assignment } = await federation.round(1);
    expect(local.map((report) => [report.client, report.task, report.losses.length])).toEqual([
      [0, 'mrpc', 2],
      [0, 'rte', 2],
      [0, 'sst2', 2],
      [1, 'rte', 3],
      [1, 'sst2', 3],
      [2, 'mrpc', 3],
      [2, 'sst2', 3],
      [3, 'mrpc', 3],
      [3, 'rte', 3],
    ]);
    expect(optimizerSteps).toBe(24);
    expect(assignment.labels).toEqual([0, 0, 0, 0]);
    expect([assignment.clusteringAccuracy, assignment.ari]).toEqual([null, null]);
    const [bank] = engine.banks;
    for (const row of [1, 2, 3]) expect(bank!.get(row)).toEqual(bank!.get(0));
    // One call per position in the clients' task lists: a row is never trained twice at once.
    expect(engine.waves).toEqual([[0, 1, 2, 3], [0, 1, 2, 3], [0]]);
  });

  it('fedit_steps: full takes as many steps as FL-TAC', async () => {
    const full = await make({ method: 'fedit', feditSteps: 'full' }).federation.round(1);
    const fltac = await make().federation.round(1);
    expect(full.optimizerSteps).toBe(fltac.optimizerSteps);
  });

  it('local never averages, and weighs each holder by its samples', async () => {
    const { federation, engine } = make({ method: 'local', rounds: 1 });
    const { assignment, scores } = await federation.round(1);
    expect(new Set(assignment.labels).size).toBe(9);
    expect(assignment.clusteringAccuracy).toBeNull();
    const holders = federation.holdings().filter((holding) => holding.task === 0);
    expect(holders.map((holding) => holding.samples)).toEqual([10, 40, 70]);
    const tasks = fakeTasks({ sst2: 120 });
    const results = await engine.evaluate(
      engine.banks[0]!,
      await Promise.all(holders.map(async ({ row }) => ({ row, examples: await tasks[0]!.evalExamples(40) }))),
    );
    const expected = results.reduce((sum, { loss }, i) => sum + (loss * holders[i]!.samples) / 120, 0);
    expect(scores![0]!.loss).toBeCloseTo(expected, 12);
    expect(scores![0]!.adapters).toBe(3);
  });

  it('none trains nothing', () => {
    const { federation } = make({ method: 'none' });
    expect(federation.rounds).toBe(0);
    expect(federation.upload().totalBytes).toBe(0);
    expect(federation.clusterStates().size).toBe(1);
  });
});

describe('the common start', () => {
  it('is one state in all adapters, drawn from the seed', () => {
    const { engine } = make();
    const bank = engine.banks[0]!;
    for (let row = 1; row < bank.rows; row += 1) expect(bank.get(row)).toEqual(bank.get(0));
    expect(bank.get(0)).not.toEqual(new Float32Array(FAKE_LAYOUT.size));
    expect(make({ seed: 1 }).engine.banks[0]!.get(0)).not.toEqual(bank.get(0));
  });
});

describe('self-checks', () => {
  it('stop at a loss that is not finite, naming client, task and step', async () => {
    const { federation, engine } = make();
    const train = engine.train.bind(engine);
    engine.train = async (...args) => {
      const results = await train(...args);
      results[1]!.losses[2] = NaN;
      return results;
    };
    await expect(federation.round(1)).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(/loss of client 0, task mrpc, round 1 is NaN at step 3 of 4/) as string,
    });
  });

  it('stop at an adapter that did not move, naming the module', async () => {
    const { federation, engine } = make();
    const train = engine.train.bind(engine);
    engine.train = async (bank, jobs, options) => {
      const before = bank.get(jobs[0]!.row);
      const results = await train(bank, jobs, options);
      const after = bank.get(jobs[0]!.row);
      after.set(before.subarray(0, 4));
      bank.set(jobs[0]!.row, after);
      return results;
    };
    await expect(federation.round(1)).rejects.toThrow(/self\.query of client 0, task sst2, round 1 did not change/);
  });

  it('let A stand still while B moves', async () => {
    const { federation, engine } = make();
    const train = engine.train.bind(engine);
    engine.train = async (bank, jobs, options) => {
      const before = jobs.map((job) => bank.get(job.row));
      const results = await train(bank, jobs, options);
      jobs.forEach((job, i) => {
        const after = bank.get(job.row);
        after.set(before[i]!.subarray(0, 2));
        bank.set(job.row, after);
      });
      return results;
    };
    await expect(federation.round(1)).resolves.toMatchObject({ round: 1 });
  });

  it('pass an abort on', async () => {
    const { federation } = make();
    const controller = new AbortController();
    controller.abort();
    await expect(federation.round(1, controller.signal)).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('report a failed preparation of tokens as itself', async () => {
    const engine = new FakeEngine();
    const tasks = fakeTasks({ sst2: 120, mrpc: 190 });
    tasks[1]!.trainExamples = () => Promise.reject(new FltacError('IO', 'the file is gone'));
    const federation = Federation.create({
      engine,
      spec: SPEC,
      tasks,
      metric: 'accuracy',
      rows: rowsOfCounts([[10, 10]]),
      settings: SETTINGS,
      cohort: 1,
      log: silentLog(),
    });
    await expect(federation.round(1)).rejects.toMatchObject({ code: 'IO' });
  });
});
