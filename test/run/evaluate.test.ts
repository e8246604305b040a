import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunConfig } from '../../src/config/index.js';
import { evaluateRun } from '../../src/run/evaluate.js';
import { trainRun } from '../../src/run/train.js';
import { fakeConfig, fakeRun, readJsonl } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-evaluate-'));
  folder = path.join(root, 'run');
});
afterEach(() => rm(root, { recursive: true }));

const FIELDS = ['task', 'metric', 'loss', 'rows', 'adapters'];
const METHODS: RunConfig['method'][] = ['fltac', 'fedit', 'local', 'oracle', 'none'];

describe('evaluating a saved round', () => {
  it.each(METHODS)('gives what the run of %s recorded', async (method) => {
    await trainRun(fakeConfig(folder, { method }), fakeRun().context);
    const rows = await readJsonl(path.join(folder, 'metrics.jsonl'));
    for (const round of method === 'none' ? [0] : [0, 2, 3]) {
      const fields = (row: object) => Object.fromEntries(Object.entries(row).filter(([key]) => FIELDS.includes(key)));
      const recorded = rows.filter((row) => row['phase'] === 'eval' && row['round'] === round);
      const { tasks } = await evaluateRun({ folder, round }, fakeRun().context);
      expect(tasks.map(fields)).toEqual(recorded.map(fields));
      expect(tasks).toHaveLength(3);
    }
  });

  it('takes the last round where none is named, and only the tasks asked for', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const outcome = await evaluateRun({ folder, tasks: ['rte'] }, fakeRun().context);
    expect(outcome).toMatchObject({ round: 3, method: 'fltac' });
    expect(outcome.tasks.map(({ task, majorityFloor }) => [task, majorityFloor])).toEqual([['rte', 0.5]]);
  });

  it('writes a prediction for every evaluated row of every distinct adapter', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const predictions = path.join(root, 'out', 'predictions.jsonl');
    const outcome = await evaluateRun({ folder, predictions, maxEvalBatches: 50 }, fakeRun().context);
    const rows = await readJsonl(predictions);
    expect(outcome.predictions).toBe(predictions);
    expect(Object.keys(rows[0]!)).toEqual(['task', 'row', 'label', 'prediction', 'logits', 'cluster']);
    for (const { task, metric } of outcome.tasks) {
      const own = rows.filter((row) => row['task'] === task);
      expect(own.map((row) => row['row'])).toEqual(Array.from({ length: 40 }, (_, i) => i));
      expect(own.filter((row) => row['label'] === row['prediction']).length / own.length).toBe(metric);
      for (const row of own) {
        const logits = row['logits'] as number[];
        expect(logits.indexOf(Math.max(...logits))).toBe(row['prediction']);
      }
    }
  });

  it('takes the untuned backbone of a run that has saved no round', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const before = await evaluateRun({ folder, round: 0 }, fakeRun().context);
    for (const round of [1, 2, 3]) await rm(path.join(folder, `adapters_round_${round}.pt`));
    expect((await evaluateRun({ folder, round: 0 }, fakeRun().context)).tasks).toEqual(before.tasks);
    await expect(evaluateRun({ folder }, fakeRun().context)).rejects.toThrow(/has no saved round/);
    await expect(evaluateRun({ folder, round: 1 }, fakeRun().context)).rejects.toThrow(/has no saved round/);
  });

  it('names what is not there: the folder, the round, the task', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const evaluate = (options: object) => evaluateRun({ folder, ...options }, fakeRun().context);
    const usage = (message: RegExp) => ({ code: 'USAGE', message: expect.stringMatching(message) as string });
    await expect(evaluate({ folder: root })).rejects.toMatchObject(usage(/it has no config.yaml/));
    await expect(evaluate({ folder: path.join(root, 'x') })).rejects.toMatchObject(usage(/is not a run's folder/));
    await expect(evaluate({ round: 7 })).rejects.toMatchObject(
      usage(/round 7 is not saved .*saved are 1, 2, 3; 0 is the untuned backbone/),
    );
    await expect(evaluate({ tasks: ['cola'] })).rejects.toMatchObject(usage(/no task cola; its tasks are sst2, mrpc/));
  });

  it('refuses a round file of another run, and a predictions path that cannot be written', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const other = path.join(root, 'other');
    await trainRun(fakeConfig(other, { method: 'fedit' }), fakeRun().context);
    await rm(path.join(folder, 'adapters_round_3.pt'));
    await writeFile(path.join(root, 'plain'), '');
    await copyFile(path.join(other, 'adapters_round_3.pt'), path.join(folder, 'adapters_round_3.pt'));
    await expect(evaluateRun({ folder }, fakeRun().context)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringContaining('they are of different runs') as string,
    });
    const run = fakeRun();
    const predictions = path.join(root, 'plain', 'p.jsonl');
    await expect(evaluateRun({ folder, predictions, round: 1 }, run.context)).rejects.toMatchObject({ code: 'IO' });
    expect(run.engine.banks).toEqual([]);
  });

  it('leaves the folder as it was', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const before = await readdir(folder, { recursive: true });
    const run = fakeRun();
    await evaluateRun({ folder }, run.context);
    expect(await readdir(folder, { recursive: true })).toEqual(before);
    expect([run.engine.disposed, run.engine.banks.every((bank) => bank.disposed)]).toEqual([true, true]);
  });
});
