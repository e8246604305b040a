import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { METHODS, stepsPerTask } from '../../src/federation/methods.js';
import { planAdapters } from '../../src/federation/plan.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

/** Optimiser steps of a round when client i holds data for `tasksOf[i]` tasks. */
function stepsOfRound(method: 'fltac' | 'fedit', split: 'published' | 'full', localSteps: number, tasksOf: number[]) {
  const { adapters } = METHODS[method];
  const tasks = ['a', 'b', 'c', 'd'];
  const counts = tasksOf.map((n) => tasks.map((_, i) => (i < n ? 5 : 0)));
  const plan = planAdapters({ adapters, tasks, counts, seed: 1 });
  return plan.adapters.reduce(
    (sum, { parts }) => sum + parts.length * stepsPerTask(adapters, split, localSteps, parts.length),
    0,
  );
}

describe('methods', () => {
  it('split the local steps of a shared adapter over its tasks and floor, as published: 26 steps against 100', () => {
    expect(stepsOfRound('fedit', 'published', 10, [3, 4, 3])).toBe(26);
    expect(stepsOfRound('fltac', 'published', 10, [3, 4, 3])).toBe(100);
  });

  it('give a shared adapter the steps of separate ones with fedit_steps: full', () => {
    expect(stepsOfRound('fedit', 'full', 10, [3, 4, 3])).toBe(100);
  });

  it('give every task at least one step, and an untrained adapter none', () => {
    expect(stepsPerTask('shared', 'published', 2, 4)).toBe(1);
    expect(stepsPerTask('none', 'published', 10, 1)).toBe(0);
  });
});

interface PublishedRuns {
  q_round_1: { submissions: { client: number; task: string }[] };
  runs: { q: { local_steps: number; local: { round: number }[] } };
}

describeWithShared('methods against the published run', () => {
  it('take its optimiser steps in a round: 100 for FL-TAC and 26 for FedIT', () => {
    const file = sharedPath('golden/published_run/runs.json');
    const published = JSON.parse(readFileSync(file, 'utf8')) as PublishedRuns;
    const { submissions } = published.q_round_1;
    const tasksOf = [0, 1, 2].map((client) => submissions.filter((entry) => entry.client === client).length);
    const { local_steps, local } = published.runs.q;
    expect(stepsOfRound('fltac', 'published', local_steps, tasksOf)).toBe(
      local.filter((entry) => entry.round === 1).length * local_steps,
    );
    expect(stepsOfRound('fedit', 'published', local_steps, tasksOf)).toBe(26);
  });
});
