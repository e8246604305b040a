import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exportRun } from '../../src/export/export.js';
import { readRoundOfRun } from '../../src/export/adapters.js';
import { trainRun } from '../../src/run/train.js';
import type { RunConfig } from '../../src/config/index.js';
import { fakeFace } from '../support/fake-engine.js';
import { temporaryFolder } from '../support/files.js';
import { fakeConfig, fakeRun, readJsonl } from '../run/support.js';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { silentLog } from '../../src/run/log.js';

async function trained(changes: Partial<RunConfig> = {}): Promise<{ folder: string; run: ReturnType<typeof fakeRun> }> {
  const folder = join(temporaryFolder(), 'run');
  const run = fakeRun();
  await trainRun(fakeConfig(folder, { report: false, ...changes }), run.context);
  return { folder, run };
}

const context = { log: silentLog(), signal: new AbortController().signal };

describe('an export', () => {
  it.each([
    ['everybody takes part', {}],
    ['some clients are absent from the last round', { participation: 2 }],
    ['each client keeps its own', { method: 'local' }],
    ['clients share one adapter', { method: 'fedit' }],
  ] as const)('has the adapters that the run itself left at its end, where %s', async (_, changes) => {
    const { folder, run } = await trained(changes);
    const face = fakeFace(run.engine);
    const parts = { face, modelFolder: () => Promise.reject(new Error('not needed')) };
    const { exported } = await exportRun({ folder, format: 'peft' }, { ...context, parts });
    expect(exported.map(({ name }) => name).sort()).toEqual((await readdir(join(folder, 'final'))).sort());
    for (const { name, folder: own } of exported) {
      const file = 'adapter_model.safetensors';
      const [found, left] = await Promise.all([
        face.readSafetensors(join(own, file)),
        face.readSafetensors(join(folder, 'final', name, file)),
      ]);
      expect(found).toEqual(left);
      expect(await readFile(join(own, 'README.md'), 'utf8')).toContain(`# ${name}`);
    }
  });

  it.each(['peft', 'merged'] as const)('as %s says before any work where it cannot be written', async (format) => {
    const { folder, run } = await trained();
    const out = temporaryFolder();
    const file = join(out, 'rte');
    await writeFile(file, 'in the way');
    const modelFolder = () => Promise.reject(new Error('too late'));
    const parts = { face: fakeFace(run.engine), modelFolder };
    const told = { code: 'IO', message: `${join(file, 'README.md')} cannot be written: ${file} is a file` };
    await expect(exportRun({ folder, format, out }, { ...context, parts })).rejects.toMatchObject(told);
    const below = { code: 'IO', message: expect.stringContaining('README.md cannot be written: ') as string };
    await expect(exportRun({ folder, format, out: file }, { ...context, parts })).rejects.toMatchObject(below);
    expect(await readdir(out)).toEqual(['rte']);
  });

  it('writes over an earlier export, and into a folder of something else only where that is asked for', async () => {
    const { folder, run } = await trained();
    const out = temporaryFolder();
    const parts = { face: fakeFace(run.engine), modelFolder: () => Promise.reject(new Error('not needed')) };
    const make = (overwrite?: boolean) =>
      exportRun({ folder, format: 'peft', out, overwrite, tasks: ['sst2'] }, { ...context, parts });
    const card = join(out, 'sst2', 'README.md');
    await make();
    await make();
    await writeFile(card, 'keep');
    const refusal = /sst2 holds .*README\.md.*, which is no export of fltac: choose another --out, or give --overwrite/;
    await expect(make()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringMatching(refusal) as string });
    expect(await readFile(card, 'utf8')).toBe('keep');
    await make(true);
    expect(await readFile(card, 'utf8')).toContain('# sst2');
  });

  it('has a card with the scores of its own round, or says of which earlier one they are', async () => {
    const { folder, run } = await trained({ rounds: 4, evalEvery: 2 });
    const face = fakeFace(run.engine);
    const parts = { face, modelFolder: () => Promise.reject(new Error('not needed')) };
    const card = async (round: number) => {
      const { exported } = await exportRun({ folder, format: 'peft', round, tasks: ['sst2'] }, { ...context, parts });
      return readFile(join(exported[0]!.folder, 'README.md'), 'utf8');
    };
    const metric = (await readJsonl(join(folder, 'metrics.jsonl'))).find(
      (record) => record['phase'] === 'eval' && record['round'] === 2 && record['task'] === 'sst2',
    )!['metric'] as number;
    const row = `| sst2 | ${metric.toFixed(3)} |`;
    expect(await card(2)).toMatch(/weighted by their samples:\n\n\| task \| accuracy \|/);
    expect(await card(2)).toContain(row);
    expect(await card(3)).toContain('; after round 2, the last before round 3 that was evaluated:');
    expect(await card(3)).toContain(row);
  });

  it.each([
    ['/home/somebody/models/bert', 'bert, from a folder', '<folder of bert>'],
    [
      'builtin:quickstart',
      'builtin:quickstart, which comes with fltac in the folder quickstart/model of its package',
      '<folder of fltac>/quickstart/model',
    ],
  ])('tells of the backbone in the folder %s, but not where it lies', async (id, backbone, named) => {
    const folder = join(temporaryFolder(), 'run');
    const run = fakeRun();
    const model = { folder: 'model', id, revision: 'local' };
    run.context.parts = { ...run.context.parts!, resolveModel: () => Promise.resolve(model) };
    await trainRun(fakeConfig(folder), run.context);
    const parts = { face: fakeFace(run.engine), modelFolder: () => Promise.reject(new Error('not needed')) };
    const { exported } = await exportRun({ folder, format: 'peft' }, { ...context, parts });
    const card = await readFile(join(exported[0]!.folder, 'README.md'), 'utf8');
    expect(card).not.toContain('somebody');
    expect(card).toContain(`- Backbone: ${backbone}\n`);
    expect(card).toContain(`from_pretrained("${named}", num_labels=`);
    const settings = await readFile(join(exported[0]!.folder, 'adapter_config.json'), 'utf8');
    expect(JSON.parse(settings)).toMatchObject({ base_model_name_or_path: named, revision: null });
  });

  it('warns of a run that is not whole any more', async () => {
    const { folder, run } = await trained();
    const parts = { face: fakeFace(run.engine), modelFolder: () => Promise.reject(new Error('not needed')) };
    const warned: string[] = [];
    const log = { ...silentLog(), warn: (message: string) => warned.push(message) };
    const make = () => exportRun({ folder, format: 'peft' }, { ...context, log, parts });
    await make();
    expect(warned).toEqual([]);
    for (const name of ['metrics.jsonl', 'cluster_assignments.jsonl']) await rm(join(folder, name));
    await make();
    expect(warned).toEqual([
      `${join(folder, 'metrics.jsonl')} is missing: the card has no scores`,
      `${join(folder, 'cluster_assignments.jsonl')} is missing: nothing tells how the adapters came about`,
    ]);
  });

  it('of a task that is named twice is made once', async () => {
    const { folder, run } = await trained();
    const { adapters } = await readRoundOfRun(fakeFace(run.engine), { folder, tasks: ['sst2', 'rte', 'sst2'] });
    expect(adapters.map(({ name }) => name)).toEqual(['sst2', 'rte']);
  });

  it('takes clusters by number, and names what is not there', async () => {
    const { folder, run } = await trained();
    const face = fakeFace(run.engine);
    const { adapters } = await readRoundOfRun(face, { folder, clusters: [0, 1] });
    expect(adapters.map(({ name, cluster }) => [name, cluster])).toEqual([
      ['cluster_0', 0],
      ['cluster_1', 1],
    ]);
    await expect(readRoundOfRun(face, { folder, clusters: [9] })).rejects.toThrow(/has no cluster 9; it has 0, 1, 2/);
    await expect(readRoundOfRun(face, { folder, tasks: ['cola'] })).rejects.toThrow(
      /no task cola; it has sst2, mrpc, rte/,
    );
    await expect(readRoundOfRun(face, { folder, round: 0 })).rejects.toThrow(/round 0 is the untrained backbone/);
  });
});
