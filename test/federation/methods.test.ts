import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { METHODS, stepsPerTask, type MethodName, type StepSettings } from '../../src/federation/methods.js';
import { planAdapters } from '../../src/federation/plan.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const SETTINGS: StepSettings = { localSteps: 10, feditSteps: 'published', centralizedSteps: 'total' };

/** Optimiser steps of a round when client i holds data for `tasksOf[i]` tasks. */
function stepsOfRound(method: MethodName, settings: Partial<StepSettings>, tasksOf: number[]) {
  const { adapters, data } = METHODS[method];
  const tasks = ['a', 'b', 'c', 'd'];
  const counts = tasksOf.map((n) => tasks.map((_, i) => (i < n ? 5 : 0)));
  const plan = planAdapters({ adapters, data, tasks, counts, seed: 1 });
  const steps = { ...SETTINGS, ...settings };
  return plan.adapters
    .flatMap(({ parts }) => parts.map(({ holders }) => ({ tasks: parts.length, holders })))
    .reduce((sum, part) => sum + stepsPerTask(METHODS[method], steps, part), 0);
}

describe('methods', () => {
  it('split the local steps of a shared adapter over its tasks and floor, as published: 26 steps against 100', () => {
    expect(stepsOfRound('fedit', {}, [3, 4, 3])).toBe(26);
    expect(stepsOfRound('fltac', {}, [3, 4, 3])).toBe(100);
  });

  it('give a shared adapter the steps of separate ones with fedit_steps: full', () => {
    expect(stepsOfRound('fedit', { feditSteps: 'full' }, [3, 4, 3])).toBe(100);
  });

  it('give every task at least one step, and an untrained adapter none', () => {
    expect(stepsPerTask(METHODS.fedit, { ...SETTINGS, localSteps: 2 }, { tasks: 4, holders: 1 })).toBe(1);
    expect(stepsPerTask(METHODS.none, SETTINGS, { tasks: 1, holders: 1 })).toBe(0);
  });

  it('give pooled rows the steps of all their holders together, or with centralized_steps: local of one of them', () => {
    expect(stepsOfRound('centralized', {}, [3, 4, 3])).toBe(100);
    expect(stepsOfRound('centralized', { centralizedSteps: 'local' }, [3, 4, 3])).toBe(40);
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
    const settings = { localSteps: local_steps };
    expect(stepsOfRound('fltac', settings, tasksOf)).toBe(
      local.filter((entry) => entry.round === 1).length * local_steps,
    );
    expect(stepsOfRound('fedit', settings, tasksOf)).toBe(26);
  });
});
