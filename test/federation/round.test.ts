import { describe, expect, it } from 'vitest';
import { FltacError } from '../../src/errors.js';
import type { FinishedPart, LocalStore } from '../../src/federation/executor.js';
import { Federation, type FederationOptions } from '../../src/federation/round.js';
import type { FederationSettings } from '../../src/federation/settings.js';
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
  aggregation: 'mean',
  uploadFormat: 'float32',
  feditSteps: 'published',
  participation: 'all',
  dropoutClients: 0,
  stragglerClients: 0,
  minClients: 1,
  onClientFailure: 'stop',
  centralizedSteps: 'total',
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
  options: FederationOptions;
  federation: Federation;
  engine: FakeEngine;
  warnings: string[];
}

function make(changes: Partial<FederationSettings> = {}, counts = COUNTS, cohort = 4): Made {
  const engine = new FakeEngine();
  const warnings: string[] = [];
  const log: Log = { ...silentLog(), warn: (message) => void warnings.push(message) };
  const options: FederationOptions = {
    engine,
    spec: SPEC,
    tasks: fakeTasks({ sst2: 120, mrpc: 190, rte: 105 }),
    metric: 'accuracy',
    rows: rowsOfCounts(counts),
    settings: { ...SETTINGS, ...changes },
    cohort,
    log,
  };
  return { options, federation: Federation.create(options), engine, warnings };
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
    // The initial adapter can be evaluated whenever it is wanted.
    expect(await federation.evaluateInitial()).toEqual(before);
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

  it('centralized trains one adapter a task on the rows of all clients, and sends none', async () => {
    const { federation, engine } = make({ method: 'centralized' });
    const { assignment, local, scores } = await federation.round(1);
    expect(assignment.trueTasks).toEqual(['sst2', 'mrpc', 'rte']);
    expect(assignment.samples).toEqual([120, 190, 105]);
    expect(assignment.clusteringAccuracy).toBeNull();
    // 4 local steps for each of the three holders of every task
    expect(local.map((report) => report.losses.length)).toEqual([12, 12, 12]);
    expect(engine.banks).toHaveLength(1);
    expect(federation.upload().totalBytes).toBe(0);
    expect(scores).toBeUndefined();
  });

  it('count the bytes of each client both ways: ten float32 values an adapter', async () => {
    const fltac = await make().federation.round(1);
    expect(fltac.traffic).toEqual(
      [3, 2, 2, 2].map((adapters, client) => ({ client, adapters, up: 40 * adapters, down: 40 * adapters })),
    );
    const fedit = await make({ method: 'fedit' }).federation.round(1);
    expect(fedit.traffic.map(({ up }) => up)).toEqual([40, 40, 40, 40]);
    expect((await make({ method: 'local' }).federation.round(1)).traffic).toEqual([]);
  });

  it('tell the error of averaging factors where adapters are averaged, and only there', async () => {
    const { products } = await make().federation.round(1);
    expect(products!.factorError).toBeGreaterThan(0);
    expect(products!.factorError).toBeLessThan(1);
    expect((await make({ method: 'local' }).federation.round(1)).products).toBeNull();
  });

  it('with int8 uploads the server goes on with what arrived, near to what was sent', async () => {
    const exact = make();
    const rounded = make({ uploadFormat: 'int8' });
    const { traffic } = await rounded.federation.round(1);
    await exact.federation.round(1);
    expect(traffic[0]!.up).toBe(3 * (10 + 4 * 4));
    const [a, b] = [values(exact.federation), values(rounded.federation)];
    expect(b).not.toEqual(a);
    a.flat().forEach((value, i) => expect(Math.abs(value - b.flat()[i]!)).toBeLessThan(0.02));
  });

  it('with int8 uploads goes on from a saved state as if it had not stopped', async () => {
    const through = make({ uploadFormat: 'int8' });
    await through.federation.round(1);
    const state = through.federation.state();
    await through.federation.round(2);
    const resumed = make({ uploadFormat: 'int8' });
    resumed.federation.restore(state);
    await resumed.federation.round(2);
    expect(values(resumed.federation)).toEqual(values(through.federation));
    expect(() => make().federation.restore(state)).toThrow(/9 upload residuals/);
  });

  it('with fedsa members of a cluster share A and the head, and hold B of their own', async () => {
    const { federation, engine } = make({ aggregation: 'fedsa' });
    const { assignment } = await federation.round(1);
    expect(assignment.clusters).toBe(3);
    expect(federation.held).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(federation.clusterStates().size).toBe(9);
    const [first, second] = federation.holdings().filter((holding) => holding.task === 0);
    const [a, b] = [first!, second!].map(({ row }) => engine.banks[0]!.get(row));
    expect(a!.subarray(0, 2)).toEqual(b!.subarray(0, 2));
    expect(a!.subarray(4)).toEqual(b!.subarray(4));
    expect(a!.subarray(2, 4)).not.toEqual(b!.subarray(2, 4));
  });

  it('asks the engine to keep A with ffa, and with a method that averages nothing does not', async () => {
    for (const [method, frozen] of [
      ['fltac', true],
      ['local', false],
    ] as const) {
      const { federation, engine } = make({ method, aggregation: 'ffa' });
      const train = engine.train.bind(engine);
      const asked: unknown[] = [];
      engine.train = (bank, jobs, options) => {
        asked.push(options.freezeA);
        return train(bank, jobs, options);
      };
      await federation.round(1);
      expect(new Set(asked)).toEqual(new Set([frozen]));
    }
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

describe('clients that do not take part', () => {
  const settings = { participation: 2, rounds: 6 } as const;

  it('keep their adapters, and are no part of the assignment', async () => {
    const { federation, engine } = make(settings);
    const bank = engine.banks[0]!;
    for (const round of [1, 2, 3]) {
      const before = bank.values.map((row) => [...row]);
      const { assignment, clients, local } = await federation.round(round);
      expect(clients.selected).toHaveLength(2);
      expect([...new Set(assignment.clients)]).toEqual(clients.selected);
      expect([...new Set(local.map((report) => report.client))]).toEqual(clients.selected);
      for (const { client, row } of federation.plan.adapters) {
        const now = [...bank.get(row)];
        if (clients.selected.includes(client)) expect(now).not.toEqual(before[row]);
        else expect(now).toEqual(before[row]);
      }
    }
  });

  it('hold adapters whose numbers are equal where their values are', async () => {
    const { federation, engine } = make(settings);
    for (const round of [1, 2, 3, 4]) {
      await federation.round(round);
      const states = federation.clusterStates();
      expect([...states.keys()]).toEqual([...states.keys()].map((_, i) => i));
      federation.plan.adapters.forEach(({ row }, i) => {
        expect(engine.banks[0]!.get(row)).toEqual(states.get(federation.held[i]!));
      });
    }
  });

  it('count by their samples in the evaluation', async () => {
    const { federation } = make({ participation: 1, rounds: 1 });
    const { scores, clients } = await federation.round(1);
    const holders = federation.holdings();
    for (const [task, entry] of scores!.entries()) {
      const numbers = new Set(holders.filter((holding) => holding.task === task).map((holding) => holding.cluster));
      expect(entry.adapters).toBe(numbers.size);
    }
    const [client] = clients.selected;
    expect(scores!.map(({ adapters }) => adapters)).toEqual(COUNTS[client!]!.map((count) => (count > 0 ? 2 : 1)));
  });

  it('because they dropped out are not trained', async () => {
    const { federation } = make({ dropoutClients: 0.5 });
    const { clients, local, optimizerSteps } = await federation.round(1);
    expect(clients.dropped.length).toBeGreaterThan(0);
    expect(local.filter((report) => clients.dropped.includes(report.client))).toEqual([]);
    expect(optimizerSteps).toBe(4 * local.length);
  });

  it('wholly, being slow, have their part averaged', async () => {
    const { federation } = make({ stragglerClients: 1, localSteps: 10 });
    const { clients, local, assignment } = await federation.round(1);
    expect(clients).toMatchObject({ stragglers: [0, 1, 2, 3], everyone: false, aggregated: true });
    expect(assignment.labels).toHaveLength(9);
    const steps = local.map((report) => report.losses.length);
    expect(Math.min(...steps)).toBeLessThan(10);
    expect(Math.min(...steps)).toBeGreaterThan(0);
  });

  it('fewer than min_clients make a round that averages nothing, and says so', async () => {
    const { federation, engine, warnings } = make({ participation: 2, minClients: 3 });
    const before = engine.banks[0]!.values.map((row) => [...row]);
    const { assignment, clients, local, optimizerSteps } = await federation.round(1);
    expect(assignment).toMatchObject({ labels: [], clusters: 0, path: 'skipped', clusteringAccuracy: null, ari: null });
    expect(clients.aggregated).toBe(false);
    expect([local.length, optimizerSteps]).toEqual([0, 0]);
    expect(engine.banks[0]!.values.map((row) => [...row])).toEqual(before);
    expect(warnings.join()).toMatch(/round 1: .*min_clients is 3.*nothing is averaged/);
  });

  it('that averages nothing is told in its clients, though all of them were asked', async () => {
    const { federation } = make({ minClients: 5 });
    const { clients } = await federation.round(1);
    expect(clients).toMatchObject({ selected: [0, 1, 2, 3], dropped: [], failed: [] });
    expect([clients.aggregated, clients.everyone]).toEqual([false, false]);
  });

  it('may leave tasks without an adapter in a round, which is told', async () => {
    const counts = [
      [9, 9, 0],
      [9, 9, 0],
      [9, 9, 0],
      [0, 0, 9],
    ];
    const { federation, warnings } = make({ participation: 3, rounds: 20 }, counts);
    const absent = [];
    for (let round = 1; round <= 20; round += 1) {
      const { assignment, clients } = await federation.round(round);
      if (clients.selected.includes(3)) continue;
      absent.push(round);
      expect(new Set(assignment.trueTasks)).toEqual(new Set(['sst2', 'mrpc']));
      expect(assignment.clusters).toBe(3);
    }
    expect(absent.length).toBeGreaterThan(0);
    expect(warnings.filter((line) => line.includes('of 2 of 3 tasks'))).toHaveLength(1);
  });
});

describe('a client whose training diverges', () => {
  /** An engine for which client 1's adapters become infinite. */
  function diverging(made: Made, from = 1): Made {
    const { engine, federation } = made;
    const train = engine.train.bind(engine);
    const rows = federation.plan.adapters.filter(({ client }) => client === 1).map(({ row }) => row);
    let calls = 0;
    engine.train = async (bank, jobs, options) => {
      const results = await train(bank, jobs, options);
      calls += 1;
      jobs.forEach(({ row }, i) => {
        if (row !== rows[0] || calls < from) return;
        results[i]!.losses[1] = Infinity;
        bank.set(row, new Float32Array(FAKE_LAYOUT.size).fill(NaN));
      });
      return results;
    };
    return made;
  }

  it('ends the run by default, saying how to leave it out', async () => {
    const { federation } = diverging(make());
    await expect(federation.round(1)).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(/client 1, task sst2.*on_client_failure=exclude/) as string,
    });
  });

  it('is left out with on_client_failure: exclude, keeps its adapters and is told', async () => {
    const { federation, engine, warnings } = diverging(make({ onClientFailure: 'exclude' }));
    const bank = engine.banks[0]!;
    const start = [...bank.get(0)];
    const { assignment, clients, local } = await federation.round(1);
    expect(assignment.clients).toEqual([0, 0, 0, 2, 2, 3, 3]);
    expect(local.map((report) => report.client)).toEqual(assignment.clients);
    expect(clients).toMatchObject({ everyone: false, aggregated: true });
    expect(clients.failed).toMatchObject([{ client: 1, task: 'sst2' }]);
    for (const { client, row } of federation.plan.adapters) {
      if (client === 1) expect([...bank.get(row)]).toEqual(start);
      else expect([...bank.get(row)]).not.toEqual(start);
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/client 1 is left out of round 1 and keeps its adapters: .*is Infinity at step 2 of 4/);
  });

  it('leaves the others as they would be without it', async () => {
    const rows = rowsOfCounts(COUNTS).map((row, client) => (client === 1 ? row.map(() => new Int32Array(0)) : row));
    const failing = diverging(make({ onClientFailure: 'exclude' }));
    const other = Federation.create({ ...make().options, rows });
    await failing.federation.round(1);
    await other.round(1);
    const held = (federation: Federation) =>
      federation.plan.adapters.flatMap(({ client }, i) =>
        client === 1 ? [] : [[...federation.clusterStates().get(federation.held[i]!)!]],
      );
    expect(held(failing.federation)).toEqual(held(other));
  });

  it('with too few others makes a round that averages nothing', async () => {
    const { federation, engine } = diverging(make({ onClientFailure: 'exclude', minClients: 4 }));
    const before = engine.banks[0]!.values.map((row) => [...row]);
    const { clients, assignment } = await federation.round(1);
    expect([clients.aggregated, assignment.path]).toEqual([false, 'skipped']);
    expect(engine.banks[0]!.values.map((row) => [...row])).toEqual(before);
  });
});

describe('the state between rounds', () => {
  it.each(['fltac', 'fedit', 'local', 'oracle'] as const)(
    'of %s is all that later rounds depend on',
    async (method) => {
      const settings = { method, rounds: 4, participation: 3, dropoutClients: 0.2, stragglerClients: 0.3 } as const;
      const whole = make(settings);
      const first = make(settings);
      for (const round of [1, 2]) {
        await whole.federation.round(round);
        await first.federation.round(round);
      }
      const second = make(settings);
      second.federation.restore(first.federation.state());
      for (const round of [3, 4]) {
        const { seconds: a, ...expected } = await whole.federation.round(round);
        const { seconds: b, ...found } = await second.federation.round(round);
        expect([a >= 0, b >= 0]).toEqual([true, true]);
        expect(found).toEqual(expected);
      }
      expect(values(second.federation)).toEqual(values(whole.federation));
      expect(second.federation.held).toEqual(whole.federation.held);
    },
  );

  it('holds each distinct adapter once', async () => {
    const { federation } = make();
    expect(federation.state().vectors.get('adapters')).toHaveLength(1);
    await federation.round(1);
    expect(federation.state().vectors.get('adapters')).toHaveLength(3);
    expect(federation.state().held).toHaveLength(9);
  });

  it('of another plan is refused', async () => {
    const { federation } = make();
    const state = make({}, [[5, 5, 5]]).federation.state();
    expect(() => federation.restore(state)).toThrow(/3 held adapters .* is not one of this run's 9/);
    await expect(federation.round(1)).resolves.toBeDefined();
  });
});

describe('local work that was kept', () => {
  /** A store in memory. */
  function memory(): LocalStore & { groups: (readonly FinishedPart[])[] } {
    const groups: (readonly FinishedPart[])[] = [];
    return {
      groups,
      // eslint-disable-next-line @typescript-eslint/require-await -- what is asked for is an async iterable
      async *load() {
        yield* groups.slice();
      },
      save: (_, parts) => Promise.resolve(void groups.push(parts)),
    };
  }

  it.each(['fltac', 'fedit'] as const)('of %s is not done again, and the round ends the same', async (method) => {
    for (const kept of [0, 1, 2, 5, 9]) {
      const whole = make({ method }, COUNTS, 2);
      const store = memory();
      const { seconds: a, ...expected } = await whole.federation.round(1, undefined, store);
      const waves = whole.engine.waves.length;
      const rest = make({ method }, COUNTS, 2);
      store.groups.splice(kept);
      const left = Math.max(0, waves - kept);
      const { seconds: b, ...found } = await rest.federation.round(1, undefined, store);
      expect([a >= 0, b >= 0]).toEqual([true, true]);
      expect(found).toEqual(expected);
      expect(rest.engine.waves).toHaveLength(left);
      expect(rest.engine.waves).toEqual(whole.engine.waves.slice(waves - left));
      expect(values(rest.federation)).toEqual(values(whole.federation));
    }
  });

  it('counts as progress, and may be of another cohort', async () => {
    const whole = make({}, COUNTS, 2);
    const store = memory();
    await whole.federation.round(1, undefined, store);
    store.groups.splice(2);
    const rest = make({}, COUNTS, 100);
    await rest.federation.round(1, undefined, store);
    expect(rest.engine.waves.map((wave) => wave.length)).toEqual([5]);
    expect(values(rest.federation)).toEqual(values(whole.federation));
  });

  it('of a client that failed keeps it out', async () => {
    const made = () => make({ onClientFailure: 'exclude' }, COUNTS, 4);
    const store = memory();
    const failed = { client: 0, slot: 0, part: 0, losses: new Float64Array(4).fill(NaN), failure: 'it diverged' };
    store.groups.push([failed]);
    const { federation, engine } = made();
    const { clients, assignment } = await federation.round(1, undefined, store);
    expect(clients.failed).toEqual([{ client: 0, task: expect.any(String) as string, reason: 'it diverged' }]);
    expect(assignment.clients).not.toContain(0);
    const rows = federation.plan.adapters.filter(({ client }) => client === 0).map(({ row }) => row);
    expect(engine.waves.flat().filter((row) => rows.includes(row))).toEqual([]);
  });

  it('of another run is refused', async () => {
    const store = memory();
    store.groups.push([{ client: 0, slot: 0, part: 0, losses: new Float64Array(3), adapter: new Float32Array(10) }]);
    await expect(make().federation.round(1, undefined, store)).rejects.toMatchObject({ code: 'FORMAT' });
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

  it('stop at an adapter that did not move, naming the tensor', async () => {
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
    await expect(federation.round(1)).rejects.toThrow(
      /self\.query\.lora_A\.default\.weight of client 0, task sst2, round 1 did not move/,
    );
  });

  it('tell of an update of ordinary length that points the other way, where distances are recorded', async () => {
    for (const recordDistances of [0, 50]) {
      const { federation, engine } = make(
        { recordDistances, method: 'oracle' },
        Array.from({ length: 6 }, () => [30, 0, 0]),
      );
      const train = engine.train.bind(engine);
      const { row } = federation.plan.adapters[2]!;
      engine.train = async (bank, jobs, options) => {
        const before = bank.get(row);
        const results = await train(bank, jobs, options);
        if (jobs.some((job) => job.row === row)) {
          bank.set(
            row,
            bank.get(row).map((value, at) => 2 * before[at]! - value),
          );
        }
        return results;
      };
      const { assignment } = await federation.round(1);
      const expected = recordDistances === 0 ? [] : [{ submission: 2, measure: 'distance' }];
      expect(assignment.outliers).toMatchObject(expected);
      expect(assignment.outliers).toHaveLength(expected.length);
    }
  });

  it.each([
    ['is told of', {}],
    ['counts no more than the bound', { maxUpdateNorm: 3 }],
  ])('a client whose update is scaled fiftyfold %s', async (_, settings) => {
    const { federation, engine } = make({ ...settings, method: 'oracle' });
    const honest = make({ ...settings, method: 'oracle' });
    const train = engine.train.bind(engine);
    const start = federation.clusterStates().get(0)!;
    const bad = federation.plan.adapters.findIndex(({ client }) => client === 1);
    const { row } = federation.plan.adapters[bad]!;
    engine.train = async (bank, jobs, options) => {
      const before = bank.get(row);
      const results = await train(bank, jobs, options);
      bank.set(
        row,
        bank.get(row).map((value, at) => before[at]! + 50 * (value - before[at]!)),
      );
      return results;
    };
    const { assignment } = await federation.round(1);
    const { assignment: usual } = await honest.federation.round(1);
    expect(usual.outliers).toEqual([]);
    expect(assignment.outliers).toMatchObject([{ submission: bad, measure: 'update_norm' }]);
    expect(assignment.updateNorms[bad]).toBeCloseTo(50 * usual.updateNorms[bad]!, 1);
    const away = (made: typeof federation) => {
      const mean = made.clusterStates().get(assignment.labels[bad]!)!;
      return Math.hypot(...mean.map((value, at) => value - start[at]!));
    };
    if ('maxUpdateNorm' in settings) {
      expect(assignment.clipped).toContain(bad);
      expect(away(federation)).toBeLessThanOrEqual(3.0001);
    } else {
      expect(assignment.clipped).toEqual([]);
      expect(away(federation)).toBeGreaterThan(5 * away(honest.federation));
    }
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
