import { describe, expect, expectTypeOf, it } from 'vitest';
import { planAdapters, trueTask } from '../../src/federation/plan.js';
import type { Grouping, GroupingInput, Submission } from '../../src/federation/server.js';

const TASKS = ['sst2', 'mrpc', 'rte'];
const COUNTS = [
  [5, 7, 0],
  [1, 2, 3],
  [0, 0, 0],
  [0, 0, 9],
];

describe('the plan of a run', () => {
  it('lists an adapter per client and task that has data, by client and listed task', () => {
    const plan = planAdapters({ adapters: 'per_task', tasks: TASKS, counts: COUNTS, seed: 1 });
    const listed = plan.adapters.map((adapter) => [adapter.client, trueTask(plan, adapter), adapter.samples]);
    expect(listed).toEqual([
      [0, 'sst2', 5],
      [0, 'mrpc', 7],
      [1, 'sst2', 1],
      [1, 'mrpc', 2],
      [1, 'rte', 3],
      [3, 'rte', 9],
    ]);
    expect(plan.rows).toBe(6);
  });

  it('pools the rows of all clients in one, and remembers how many held them', () => {
    const plan = planAdapters({ adapters: 'per_task', data: 'pooled', tasks: TASKS, counts: COUNTS, seed: 1 });
    expect(plan.adapters.map(({ client, samples, parts }) => [client, samples, parts[0]!.holders])).toEqual([
      [0, 6, 2],
      [0, 9, 2],
      [0, 12, 2],
    ]);
    expect([plan.nClients, plan.rows]).toEqual([1, 3]);
  });

  it('orders bank rows by client and slot', () => {
    const plan = planAdapters({ adapters: 'per_task', tasks: TASKS, counts: COUNTS, seed: 1 });
    const byRow = [...plan.adapters].sort((a, b) => a.row - b.row);
    expect(byRow.map((adapter) => adapter.row)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(byRow.map((adapter) => [adapter.client, adapter.slot])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
      [1, 2],
      [3, 0],
    ]);
  });

  it('gives a client one shared adapter that visits its tasks in alphabetical order', () => {
    const plan = planAdapters({ adapters: 'shared', tasks: TASKS, counts: COUNTS, seed: 1 });
    expect(plan.adapters.map((adapter) => [adapter.client, trueTask(plan, adapter), adapter.samples])).toEqual([
      [0, 'mrpc+sst2', 12],
      [1, 'mrpc+rte+sst2', 6],
      [3, 'rte', 9],
    ]);
  });

  it('keeps one row where adapters are not trained', () => {
    const plan = planAdapters({ adapters: 'none', tasks: TASKS, counts: COUNTS, seed: 1 });
    expect(plan.rows).toBe(1);
    expect(new Set(plan.adapters.map((adapter) => adapter.row))).toEqual(new Set([0]));
  });

  it('refuses clients without data', () => {
    expect(() => planAdapters({ adapters: 'per_task', tasks: TASKS, counts: [[0, 0, 0]], seed: 1 })).toThrow(
      expect.objectContaining({ code: 'USAGE' }) as Error,
    );
  });
});

describe('slots', () => {
  const many = Array.from({ length: 300 }, () => [1, 1, 1]);
  const slotsOf = (seed: number) =>
    planAdapters({ adapters: 'per_task', tasks: TASKS, counts: many, seed }).adapters.map((adapter) => adapter.slot);

  it('last for the run and depend on the seed', () => {
    expect(slotsOf(1)).toEqual(slotsOf(1));
    expect(slotsOf(1)).not.toEqual(slotsOf(2));
  });

  it('hide the task: each of the six orders of three tasks is about as frequent', () => {
    const slots = slotsOf(42);
    const orders = new Map<string, number>();
    for (let client = 0; client < 300; client += 1) {
      const order = slots.slice(3 * client, 3 * client + 3).join();
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(orders.size).toBe(6);
    // 50 expected of each; the standard deviation is 6.5.
    for (const count of orders.values()) expect(Math.abs(count - 50)).toBeLessThan(30);
  });

  it('and client are all that the server gets: no task name by type', () => {
    expectTypeOf<keyof Submission>().toEqualTypeOf<'client' | 'slot' | 'row' | 'samples'>();
    expectTypeOf<keyof GroupingInput>().toEqualTypeOf<
      'engine' | 'bank' | 'submissions' | 'k' | 'kmeans' | 'seed' | 'signal' | 'announce'
    >();
    type Blind = Extract<Grouping, { sees: 'adapters' }>;
    expectTypeOf<Parameters<Blind['group']>>().toEqualTypeOf<[input: GroupingInput]>();
  });
});
