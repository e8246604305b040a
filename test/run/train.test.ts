import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../../src/config/index.js';
import { FltacError } from '../../src/errors.js';
import { readRoundAdapters } from '../../src/run/artifacts.js';
import type { Scenario } from '../../src/data/scenario.js';
import { createLog, silentLog } from '../../src/run/log.js';
import { trainRun } from '../../src/run/train.js';
import { FAKE_LAYOUT, fakeFace } from '../support/fake-engine.js';
import { contents, fakeConfig, fakeRun, readJsonl, type Row } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-train-'));
  folder = path.join(root, 'run');
});
afterEach(() => rm(root, { recursive: true }));

const inFolder = (name: string) => path.join(folder, name);

describe('a run', () => {
  it('leaves the files of its folder and none beside', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    expect((await readdir(folder)).sort()).toEqual([
      'adapters_round_1.pt',
      'adapters_round_2.pt',
      'adapters_round_3.pt',
      'checkpoint',
      'cluster_assignments.jsonl',
      'config.yaml',
      'environment.json',
      'final',
      'geometry.jsonl',
      'initial_adapter.safetensors',
      'manifest.json',
      'metrics.jsonl',
      'partition.json',
    ]);
    expect((await readdir(inFolder('final'))).sort()).toEqual(['mrpc', 'rte', 'sst2']);
  });

  it('records local training, evaluation and the end of each round in that order', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const rows = await readJsonl(inFolder('metrics.jsonl'));
    const phases = rows.map((row) => `${String(row['round'])} ${String(row['phase'])}`);
    const runs = phases.filter((phase, i) => phase !== phases[i - 1]);
    expect(runs).toEqual([
      '0 eval',
      '1 local',
      '1 communication',
      '1 round_done',
      '2 local',
      '2 communication',
      '2 eval',
      '2 round_done',
      '3 local',
      '3 communication',
      '3 eval',
      '3 round_done',
    ]);
    const local = rows.find((row) => row['phase'] === 'local')!;
    expect(Object.keys(local)).toEqual('round phase client task loss n first_loss last_loss steps'.split(' '));
    expect(local).toMatchObject({ round: 1, client: 0, steps: 4 });
    expect(rows.find((row) => row['phase'] === 'eval')).toMatchObject({ round: 0, task: 'sst2', rows: 40 });
    expect(typeof rows.at(-1)!['seconds']).toBe('number');
  });

  it('trains before it evaluates the untuned backbone, whose records come first', async () => {
    const { context, engine } = fakeRun();
    const calls: string[] = [];
    const [train, evaluate] = [engine.train.bind(engine), engine.evaluate.bind(engine)];
    engine.train = (...args) => (calls.push('train'), train(...args));
    engine.evaluate = (...args) => (calls.push('evaluate'), evaluate(...args));
    await trainRun(fakeConfig(folder), context);
    expect(calls[0]).toBe('train');
    expect(calls).toContain('evaluate');
  });

  it('leaves no secret in any file or message, whoever repeats it', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_planted_token');
    vi.stubEnv('OPENAI_API_KEY', 'sk-planted-key');
    const said: string[] = [];
    const stream = new Writable({
      write: (chunk: Buffer, _, done) => {
        said.push(String(chunk));
        done();
      },
    });
    const run = fakeRun({ log: createLog({ stream }) });
    const parts = run.context.parts!;
    const provenance = [{ repo: 'a/b', revision: 'hf_planted_token', files: ['https://me:pass@mirror.example/a/b'] }];
    parts.loadScenario = () =>
      Promise.resolve({
        name: 'glue',
        metric: 'accuracy' as const,
        tasks: run.tasks,
        provenance,
      } as unknown as Scenario);
    await trainRun(fakeConfig(folder), run.context).finally(() => vi.unstubAllEnvs());
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) said.push(await readFile(path.join(entry.parentPath, entry.name), 'utf8'));
    }
    expect(said.join('\n')).not.toMatch(/planted|me:pass/);
    expect(said.join('\n')).toContain('https://***@mirror.example/a/b');
  });

  it('logs the mean loss of the local steps', async () => {
    const run = fakeRun();
    const seen: number[][] = [];
    const train = run.engine.train.bind(run.engine);
    run.engine.train = async (...args) => {
      const results = await train(...args);
      seen.push(...results.map((result) => [...result.losses]));
      return results;
    };
    await trainRun(fakeConfig(folder, { rounds: 1, cohort: 1 }), run.context);
    const local = (await readJsonl(inFolder('metrics.jsonl'))).filter((row) => row['phase'] === 'local');
    expect(local.map((row) => row['loss'])).toEqual(seen.map((losses) => losses.reduce((a, b) => a + b) / 4));
    expect(local.map((row) => [row['first_loss'], row['last_loss']])).toEqual(seen.map((l) => [l[0], l[3]]));
  });

  it('records the assignments in submission order, as the round file holds them', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const assignments = await readJsonl(inFolder('cluster_assignments.jsonl'));
    expect(assignments.map((row) => row['round'])).toEqual([1, 2, 3]);
    const partition = JSON.parse(await readFile(inFolder('partition.json'), 'utf8')) as {
      tasks: string[];
      rows: number[][];
    };
    const held = partition.rows.flatMap((counts, client) =>
      counts.flatMap((n, task) => (n > 0 ? [{ client, task: partition.tasks[task]!, n }] : [])),
    );
    const last = assignments[2]!;
    expect(last['true_tasks']).toEqual(held.map((entry) => entry.task));
    expect(last['clients']).toEqual(held.map((entry) => entry.client));
    expect(last['samples']).toEqual(held.map((entry) => entry.n));
    expect(last).toMatchObject({ clustering_accuracy: 1, ari: 1, path: 'gram' });
    const saved = await readRoundAdapters(fakeFace(), inFolder('adapters_round_3.pt'), FAKE_LAYOUT);
    expect([saved.round, saved.labels, saved.trueTasks]).toEqual([3, last['labels'], last['true_tasks']]);
    expect([...saved.states.keys()]).toEqual([0, 1, 2]);
  });

  it('writes each final adapter with the names PEFT gives its files', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const config = JSON.parse(await readFile(inFolder('final/mrpc/adapter_config.json'), 'utf8')) as Row;
    expect(config).toMatchObject({
      base_model_name_or_path: 'org/fake',
      revision: 'abc123',
      r: 4,
      lora_alpha: 16,
      peft_type: 'LORA',
      task_type: 'SEQ_CLS',
      modules_to_save: ['classifier', 'score'],
      target_modules: ['query', 'value'],
    });
    const tensors = await fakeFace().readSafetensors(inFolder('final/mrpc/adapter_model.safetensors'));
    expect([...tensors.keys()]).toEqual([
      'base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight',
      'base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight',
      'base_model.model.classifier.bias',
      'base_model.model.classifier.weight',
    ]);
  });

  it('names no revision for a backbone from a local folder', async () => {
    const run = fakeRun();
    run.context.parts!.resolveModel = () => Promise.resolve({ folder: 'm', id: './mine', revision: 'local' });
    await trainRun(fakeConfig(folder, { rounds: 1 }), run.context);
    const config = JSON.parse(await readFile(inFolder('final/mrpc/adapter_config.json'), 'utf8')) as Row;
    expect(config['revision']).toBeNull();
  });

  it('is the same twice, times aside', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    await trainRun(fakeConfig(path.join(root, 'again')), fakeRun().context);
    expect(await contents(path.join(root, 'again'))).toEqual(await contents(folder));
  });

  it('keeps a configuration that makes the same run', async () => {
    const config = fakeConfig(folder);
    await trainRun(config, fakeRun().context);
    expect(loadConfig({ file: inFolder('config.yaml'), env: {} }).config).toEqual(config);
  });

  it('saves adapters every save_every rounds and after the last', async () => {
    await trainRun(fakeConfig(folder, { rounds: 5, saveEvery: 2 }), fakeRun().context);
    const saved = (await readdir(folder)).filter((name) => name.endsWith('.pt'));
    expect(saved.sort()).toEqual(['adapters_round_2.pt', 'adapters_round_4.pt', 'adapters_round_5.pt']);
  });

  it('tells scores, floors, cost and clustering', async () => {
    const outcome = await trainRun(fakeConfig(folder), fakeRun().context);
    expect(outcome).toMatchObject({ method: 'fltac', folder, rounds: 3, clusteringAccuracy: 1, scenario: 'glue' });
    expect(outcome.upload.bytesPerAdapter).toBe(4 * FAKE_LAYOUT.size);
    expect(outcome.optimizerSteps).toBe((outcome.upload.totalBytes / outcome.upload.bytesPerAdapter) * 4);
    expect(outcome.tasks.map((task) => task.task)).toEqual(['sst2', 'mrpc', 'rte']);
    for (const task of outcome.tasks) {
      expect(task.majorityFloor).toBe(0.5);
      expect(task.metric).toBeGreaterThan(task.untuned!);
      expect(task.baseline).toBeUndefined();
    }
  });

  it('says and records where the backbone lies, and its type with the reason', async () => {
    const run = fakeRun();
    await trainRun(fakeConfig(folder), run.context);
    expect(run.lines).toContain(
      'backbone: embedding + layer 0 + output on cpu (0 bytes); weights in float32, because it is a fake',
    );
    const environment = JSON.parse(await readFile(inFolder('environment.json'), 'utf8')) as Row;
    expect(environment).toMatchObject({
      device: 'cpu',
      placement: [{ parts: 'embedding + layer 0 + output', device: 'cpu', bytes: 0 }],
      dtype: 'float32',
      dtype_reason: 'it is a fake',
    });
  });

  it.each([
    { device: 'cuda:0', dtype: 'float32', effect: true },
    { device: 'cuda:0', dtype: 'bfloat16', effect: false },
    { device: 'cpu', dtype: 'float32', effect: false },
  ])('says whether tf32 changes anything for weights in $dtype on $device', async ({ device, dtype, effect }) => {
    const run = fakeRun();
    const warnings: string[] = [];
    run.context.log.warn = (message) => void warnings.push(message);
    const placement = run.engine.info.placement.map((part) => ({ ...part, device }));
    Object.assign(run.engine, { info: { ...run.engine.info, dtype, placement } });
    await trainRun(fakeConfig(folder, { rounds: 1, tf32: true }), run.context);
    const line = run.lines.find((one) => one.startsWith('backbone: '))!;
    expect(line.includes('products with them on CUDA devices in TF32')).toBe(effect);
    expect(warnings.filter((one) => one.startsWith('tf32 has no effect'))).toHaveLength(effect ? 0 : 1);
  });

  it('shows how far the backbone is loaded, under the signal of the run', async () => {
    const run = fakeRun();
    const shown: unknown[] = [];
    const silent = silentLog();
    run.context.log.progress = (title, total) => {
      if (title !== 'loading backbone') return silent.progress(title, total);
      return { update: (done) => void shown.push([done, total]), done: () => void shown.push('done') };
    };
    const { face } = run.context.parts!;
    face.load = (_, options) => {
      expect(options.signal).toBe(run.context.signal);
      for (const done of [1, 2, 3]) options.onProgress?.(done, 3);
      return Promise.resolve(run.engine);
    };
    await trainRun(fakeConfig(folder), run.context);
    expect(shown).toEqual([[1, 3], [2, 3], [3, 3], 'done']);
  });

  it('passes gradient checkpointing on to training', async () => {
    for (const gradientCheckpointing of [false, true]) {
      const run = fakeRun();
      const train = run.engine.train.bind(run.engine);
      const seen = new Set<boolean | undefined>();
      run.engine.train = (bank, jobs, options) => {
        seen.add(options.checkpointing);
        return train(bank, jobs, options);
      };
      await trainRun(fakeConfig(folder, { gradientCheckpointing }), { ...run.context, overwrite: true });
      expect([...seen]).toEqual([gradientCheckpointing]);
    }
  });

  it('frees what the engine holds', async () => {
    const run = fakeRun();
    await trainRun(fakeConfig(folder), run.context);
    expect([run.engine.disposed, run.engine.banks.every((bank) => bank.disposed)]).toEqual([true, true]);
  });

  it('of method none is one evaluation of the untuned backbone', async () => {
    const run = fakeRun();
    const outcome = await trainRun(fakeConfig(folder, { method: 'none' }), run.context);
    expect([outcome.rounds, outcome.optimizerSteps, run.engine.waves]).toEqual([0, 0, []]);
    expect(outcome.tasks.every((task) => task.metric === task.untuned)).toBe(true);
    expect((await readJsonl(inFolder('metrics.jsonl'))).map((row) => [row['round'], row['phase']])).toEqual([
      [0, 'eval'],
      [0, 'eval'],
      [0, 'eval'],
    ]);
    expect(await readdir(folder)).toContain('adapters_round_0.pt');
  });
});

describe('a baseline', () => {
  it('takes the same rounds and as many steps in a run folder of its own, and a column', async () => {
    const outcome = await trainRun(fakeConfig(folder, { baselineMethod: 'fedit' }), fakeRun().context);
    expect(outcome.baseline).toMatchObject({ method: 'fedit', optimizerSteps: outcome.optimizerSteps, rounds: 3 });
    expect(outcome.tasks.every((task) => typeof task.baseline === 'number')).toBe(true);
    const own = inFolder('baseline_fedit');
    expect(loadConfig({ file: path.join(own, 'config.yaml'), env: {} }).config).toMatchObject({
      method: 'fedit',
      feditSteps: 'full',
      baselineMethod: 'none',
    });
    const assignments = await readJsonl(path.join(own, 'cluster_assignments.jsonl'));
    expect(assignments[0]).toMatchObject({ clustering_accuracy: null, ari: null });
    expect(String((assignments[0]!['true_tasks'] as string[])[0])).toMatch(/^[a-z0-9]+(\+[a-z0-9]+)*$/);
  });

  it('changes nothing in the main run', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    await trainRun(fakeConfig(path.join(root, 'with'), { baselineMethod: 'local' }), fakeRun().context);
    const alone = await contents(folder);
    const both = await contents(path.join(root, 'with'));
    for (const name of Object.keys(alone).filter((file) => file !== 'config.yaml'))
      expect(both[name]).toBe(alone[name]);
  });
});

describe('an interrupted run', () => {
  it('keeps whole rounds only, and says which', async () => {
    const run = fakeRun();
    const train = run.engine.train.bind(run.engine);
    run.engine.train = (bank, jobs, options) => {
      if (run.engine.waves.length < 4) return train(bank, jobs, options);
      return train(bank, jobs, { ...options, onProgress: (done) => done === 2 && run.controller.abort() });
    };
    await expect(trainRun(fakeConfig(folder, { cohort: 8 }), run.context)).rejects.toMatchObject({
      code: 'ABORTED',
      message: `stopped in round 3 of 3: rounds 1 to 2 are saved in ${folder}\nto go on: fltac train --resume ${folder}`,
    });
    const rows = await readJsonl(inFolder('metrics.jsonl'));
    expect(rows.at(-1)).toMatchObject({ round: 2, phase: 'round_done' });
    expect((await readJsonl(inFolder('cluster_assignments.jsonl'))).map((row) => row['round'])).toEqual([1, 2]);
    const names = await readdir(folder);
    expect(names.filter((name) => name.includes('.tmp') || name.includes('round_3'))).toEqual([]);
    expect(run.engine.disposed).toBe(true);
  });

  it('before its first round leaves no round, and nothing at all when it was stopped while opening', async () => {
    const run = fakeRun();
    run.controller.abort();
    await expect(trainRun(fakeConfig(folder), run.context)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(root)).toEqual([]);
  });
});

describe('a run that fails', () => {
  it('at a loss that is not finite keeps the rounds before', async () => {
    const run = fakeRun();
    const train = run.engine.train.bind(run.engine);
    run.engine.train = async (...args) => {
      const results = await train(...args);
      if (run.engine.waves.length > 2) results[0]!.losses[0] = Infinity;
      return results;
    };
    await expect(trainRun(fakeConfig(folder, { cohort: 100 }), run.context)).rejects.toMatchObject({
      code: 'NON_FINITE',
    });
    expect((await readJsonl(inFolder('metrics.jsonl'))).at(-1)).toMatchObject({ round: 2, phase: 'round_done' });
  });

  it('for want of memory says which settings to lower and what is saved', async () => {
    const run = fakeRun();
    const train = run.engine.train.bind(run.engine);
    run.engine.train = (...args) =>
      run.engine.waves.length < 2
        ? train(...args)
        : Promise.reject(new FltacError('OUT_OF_MEMORY', 'memory ran out: lower cohort'));
    await expect(trainRun(fakeConfig(folder, { cohort: 100 }), run.context)).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message:
        `memory ran out: lower cohort\nthat was in round 3 of 3: rounds 1 to 2 are saved in ${folder}\n` +
        `to go on: fltac train --resume ${folder}`,
    });
    expect((await readJsonl(inFolder('metrics.jsonl'))).at(-1)).toMatchObject({ round: 2, phase: 'round_done' });
  });

  it('for want of clients with data says how many there are, and leaves an earlier run as it is', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const before = await contents(folder);
    const few = { nClients: 12, dirichletAlpha: 0.02, minClients: 12 } as const;
    const training = trainRun(fakeConfig(folder, few), fakeRun({ overwrite: true }).context);
    await expect(training).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /^min_clients is 12, but of 12 clients (\d+) hold data and a round asks \1 .*lower min_clients/,
      ) as string,
    });
    expect(await contents(folder)).toEqual(before);
    await trainRun(fakeConfig(folder, { ...few, method: 'none' }), fakeRun({ overwrite: true }).context);
    await trainRun(fakeConfig(folder, { ...few, method: 'centralized' }), fakeRun({ overwrite: true }).context);
  });

  it('for want of a device fails before its model is looked for', async () => {
    const run = fakeRun();
    const parts = run.context.parts!;
    parts.face.checkDevices = () => {
      throw new FltacError('UNSUPPORTED', 'no such device');
    };
    parts.resolveModel = () => Promise.reject(new Error('the model was looked for'));
    await expect(trainRun(fakeConfig(folder), run.context)).rejects.toThrow('no such device');
  });

  it('while its data loads leaves no empty folder', async () => {
    const run = fakeRun();
    run.context.parts!.loadScenario = () => Promise.reject(new Error('no network'));
    await expect(trainRun(fakeConfig(folder), run.context)).rejects.toThrow('no network');
    expect(await readdir(root)).toEqual([]);
  });
});
