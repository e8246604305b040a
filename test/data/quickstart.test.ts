import { existsSync } from 'node:fs';
import { asSequences } from '../../src/engine/examples.js';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeConfig } from '../../src/config/load.js';
import { SCENARIOS } from '../../src/config/scenarios.js';
import { bundledTasks } from '../../src/data/bundled.js';
import { knownTaskSizes, loadScenario, resolveModel } from '../../src/data/scenario.js';
import { folderOf, keptLog } from '../support/hub.js';

describe('bundledTasks', () => {
  const task = { name: 'a', num_labels: 2, splits: { train: { rows: 8 }, validation: { rows: 3 } } };

  it('reads the manifest, in its order', () => {
    const tasks = [{ ...task, name: 'b' }, task];
    const folder = folderOf({ 'manifest.json': JSON.stringify({ seed: 0, tasks, files: {} }) });
    expect(bundledTasks(folder)).toEqual([
      { name: 'b', numLabels: 2, trainRows: 8 },
      { name: 'a', numLabels: 2, trainRows: 8 },
    ]);
  });

  it.each([
    ['{"tasks": [', 'FORMAT'],
    [JSON.stringify({ tasks: [{ ...task, num_labels: 'two' }] }), 'FORMAT'],
  ])('says in one line that a manifest is broken: %s', (content, code) => {
    const folder = folderOf({ 'manifest.json': content });
    const failure = { code, message: expect.stringMatching(/^.*manifest\.json[^\n]*install fltac again$/) as string };
    expect(() => bundledTasks(folder)).toThrow(expect.objectContaining(failure) as Error);
  });

  it('says IO where there is none', () => {
    expect(() => bundledTasks(folderOf({}))).toThrow(expect.objectContaining({ code: 'IO' }) as Error);
  });
});

describe('the quickstart scenario', () => {
  it('has the tasks that the configuration lists, with sizes known before it is loaded', async () => {
    const config = makeConfig({ scenario: 'quickstart' });
    const context = { log: keptLog() };
    const model = await resolveModel(config, context);
    expect(existsSync(join(model.folder, 'model.safetensors'))).toBe(true);
    const { tasks } = await loadScenario(config, model, context);
    expect(tasks.map((task) => task.name)).toEqual(SCENARIOS.quickstart.tasks);
    expect(knownTaskSizes('quickstart')).toEqual(tasks.map((task) => ({ name: task.name, rows: task.trainRows })));
    for (const task of tasks) {
      const packed = asSequences(await task.evalExamples(5));
      expect(packed.offsets).toHaveLength(6);
      expect(packed.labels.every((label) => label >= 0 && label < task.numLabels!)).toBe(true);
      expect(task.majorityFloor).toBeLessThan(0.7);
    }
    expect(context.log.lines).toEqual([]);
  });

  it('refuses a task that it does not have', async () => {
    const config = { ...makeConfig({ scenario: 'quickstart' }), tasks: ['sst2'] };
    const context = { log: keptLog() };
    const model = await resolveModel(config, context);
    await expect(loadScenario(config, model, context)).rejects.toThrow(/quickstart has the tasks .*, found sst2/);
  });
});
