import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countTable, spread, tasksOfClusters, trafficUpTo } from '../../src/report/facts.js';
import type { Figure } from '../../src/report/figures/figure.js';
import { finalScores } from '../../src/report/figures/scores.js';
import { readRuns, type Run } from '../../src/report/runs.js';
import { scoreTable } from '../../src/report/summary.js';
import { writeRun } from './support.js';

const record = (labels: number[], truth: string[]) => ({
  round: 1,
  labels,
  true_tasks: truth,
  clustering_accuracy: 1,
  clients: labels,
  samples: labels,
});

describe('the task that a cluster stands for', () => {
  it('is that of the best one-to-one match', () => {
    // Both clusters hold most of a; the match that counts most gives cluster 0 the task b.
    const both = record([0, 0, 0, 0, 0, 1, 1, 1, 1], ['a', 'a', 'a', 'b', 'b', 'a', 'a', 'a', 'a']);
    expect(countTable(both, [0, 1], ['a', 'b'])).toEqual([
      [3, 2],
      [4, 0],
    ]);
    expect(tasksOfClusters(both, ['a', 'b'])).toEqual(
      new Map([
        [0, 1],
        [1, 0],
      ]),
    );
  });

  it('is none for a cluster too many', () => {
    expect(tasksOfClusters(record([0, 1, 1], ['a', 'a', 'a']), ['a']).get(0)).toBe(-1);
  });
});

it('chosen items are evenly spaced, first and last among them', () => {
  const items = Array.from({ length: 200 }, (_, i) => i + 1);
  expect(spread(items, 5)).toEqual([1, 51, 101, 150, 200]);
  expect(spread(items, 1)).toEqual([200]);
  expect(spread([1, 2], 5)).toEqual([1, 2]);
});

describe('what scores are read beside', () => {
  let root: string;
  let runs: Run[];
  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'fltac-references-'));
    const folders = [1, 2].map((seed) => writeRun(path.join(root, `s${seed}`), { rounds: 1, clients: 3, seed }));
    runs = await readRuns(await Promise.all(folders));
  });
  afterAll(() => rm(root, { recursive: true }));

  const untuned = (run: Run, by: number): Run => ({
    ...run,
    evaluations: run.evaluations.map((record) =>
      record.round === 0 ? { ...record, metric: record.metric + by } : record,
    ),
  });

  it('is told once where the runs show the same digits', () => {
    expect(scoreTable(runs).head.slice(3)).toEqual(['majority floor', 'untuned backbone']);
    expect(scoreTable([runs[0]!, untuned(runs[1]!, 1e-5)]).head).toHaveLength(5);
  });

  it('is told for each run where they differ, as those of other seeds do', () => {
    const { head, rows } = scoreTable([runs[0]!, untuned(runs[1]!, 0.1)]);
    const names = runs.map(({ name }) => `untuned backbone, ${name}`);
    expect(head.slice(3)).toEqual(['majority floor', ...names]);
    expect(rows[0]!.slice(3)).toEqual(['0.510', '0.520', '0.620']);
    const { svg } = finalScores([runs[0]!, untuned(runs[1]!, 0.1)]) as Figure;
    expect(svg).toContain(`<title>${names[1]!}, sst2: 0.620</title>`);
  });
});

describe('bytes', () => {
  let root: string;
  let run: Run;
  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'fltac-facts-'));
    [run] = (await readRuns([await writeRun(root, { rounds: 2, clients: 3 })])) as [Run];
  });
  afterAll(() => rm(root, { recursive: true }));

  it('are an adapter of float32 values for each submission and back, where nothing else was recorded', () => {
    const sent = run.assignments[0]!.labels.length;
    expect(trafficUpTo(run, 1)).toEqual({ up: sent * 36_864 * 4, down: sent * 36_864 * 4 });
    expect(trafficUpTo(run, 2)!.up).toBe(2 * sent * 36_864 * 4);
    expect(trafficUpTo({ ...run, environment: {} }, 2)).toBeUndefined();
  });

  it('are none where the method averages nothing', () => {
    expect(trafficUpTo({ ...run, config: { ...run.config, method: 'local' } }, 2)).toEqual({ up: 0, down: 0 });
  });

  it('are as recorded, where they were', () => {
    const one = (round: number, up: number) => ({ phase: 'communication' as const, round, client: 0, up, down: 3 });
    const recorded = { ...run, communication: [one(1, 10), one(1, 20), one(2, 5)] };
    expect([1, 2].map((round) => trafficUpTo(recorded, round))).toEqual([
      { up: 30, down: 6 },
      { up: 35, down: 9 },
    ]);
  });

  it('squared distances are found whatever the order of the pair', () => {
    const { squared, submissions } = run.geometry[0]!;
    const all = submissions.map((_, i) => i);
    for (const i of all) for (const j of all) expect(squared(i, j)).toBe(squared(j, i));
    expect(all.map((i) => squared(i, i))).toEqual(all.map(() => 0));
  });
});
