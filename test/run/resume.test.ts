import { cpSync, readFileSync, readdirSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunConfig } from '../../src/config/index.js';
import { FltacError } from '../../src/errors.js';
import { cutJournal, readCheckpoint, readCheckpointState, type CheckpointRecord } from '../../src/run/checkpoint.js';
import { LocalWork } from '../../src/run/local-work.js';
import { silentLog } from '../../src/run/log.js';
import { trainRun, type TrainContext } from '../../src/run/train.js';
import { contents, fakeConfig, fakeRun, readJsonl, type FakeRun, type Row } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-resume-'));
  folder = path.join(root, 'run');
});
afterEach(() => rm(root, { recursive: true }));

/** Optimiser steps of a wave and of a round. */
const WAVE = 4 * 4;
const ROUND = 4 * 14;

const inFolder = (name: string) => path.join(folder, name);

/** Cohorts of four: a round of 14 local jobs of four steps has four waves, which an interruption falls between. */
function configOf(of: string, changes: Partial<RunConfig> = {}): RunConfig {
  return fakeConfig(of, { rounds: 3, cohort: 4, evalEvery: 2, ...changes });
}

async function whole(changes: Partial<RunConfig> = {}): Promise<Record<string, string>> {
  const of = path.join(root, 'whole');
  await trainRun(configOf(of, changes), fakeRun().context);
  return relocated(await contents(of));
}

/** config.yaml names the folder. */
function relocated(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([name, text]) => [name, text.replaceAll(/output_dir: .*/g, '')]),
  );
}

async function resume(of: string, changes: Partial<RunConfig> = {}, context: TrainContext = {}) {
  const run = fakeRun({ resume: true, ...context });
  const outcome = await trainRun(configOf(of, changes), run.context);
  return { outcome, run, files: relocated(await contents(of)) };
}

/** Stops a run when its engine has taken this many optimiser steps. */
async function stopAfter(steps: number, changes: Partial<RunConfig> = {}, run: FakeRun = fakeRun()): Promise<unknown> {
  const train = run.engine.train.bind(run.engine);
  let done = 0;
  run.engine.train = (bank, jobs, options) =>
    train(bank, jobs, {
      ...options,
      onProgress: (n, total) => {
        options.onProgress?.(n, total);
        done += 1;
        if (done === steps) run.controller.abort();
      },
    });
  return trainRun(configOf(folder, changes), run.context).catch((error: unknown) => error);
}

/** Copies the folder as it is at every moment at which the engine is called or writes, as if the process had died then. */
async function snapshots(changes: Partial<RunConfig> = {}): Promise<string[]> {
  const run = fakeRun();
  const { face } = run.context.parts!;
  const taken: string[] = [];
  const seen = new Set<string>();
  const snap = () => {
    const copy = path.join(root, `moment_${taken.length}`);
    cpSync(folder, copy, { recursive: true, filter: (name) => !name.endsWith('run.lock') });
    const print = fingerprint(copy);
    if (seen.has(print)) return;
    seen.add(print);
    taken.push(copy);
  };
  const around =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      snap();
      const result = await call(...args);
      snap();
      return result;
    };
  run.engine.train = around(run.engine.train.bind(run.engine));
  run.engine.evaluate = around(run.engine.evaluate.bind(run.engine));
  run.engine.kmeans = around(run.engine.kmeans.bind(run.engine));
  face.writeArchive = around(face.writeArchive.bind(face));
  face.writeSafetensors = around(face.writeSafetensors.bind(face));
  await trainRun(configOf(folder, changes), run.context);
  return taken;
}

/** Names and contents of all files below a folder. */
function fingerprint(of: string): string {
  const entries = readdirSync(of, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = entries.map((entry) => path.join(entry.parentPath, entry.name)).sort();
  return JSON.stringify(files.map((file) => [path.relative(of, file), readFileSync(file, 'utf8')]));
}

/** Moments that are tried of each study; the kill tests try others with real processes. */
const MOMENTS = 10;

/** `count` of the items, evenly spread, the first and the last among them. */
function spread<T>(items: readonly T[], count: number): T[] {
  const step = Math.max(1, (items.length - 1) / (count - 1));
  return Array.from({ length: Math.min(count, items.length) }, (_, i) => items[Math.round(i * step)]!);
}

const STUDIES: [string, Partial<RunConfig>][] = [
  ['fltac', { rounds: 2, evalEvery: 1 }],
  ['fedit', { method: 'fedit', rounds: 2 }],
  ['local with few clients', { method: 'local', participation: 2, rounds: 2 }],
  ['oracle with drop-outs and stragglers', { method: 'oracle', dropoutClients: 0.3, stragglerClients: 0.4, rounds: 2 }],
  ['fltac with a baseline', { baselineMethod: 'fedit', rounds: 1 }],
  ['none', { method: 'none' }],
];

describe('a run that is resumed', () => {
  it.each(STUDIES)('ends with the same files, wherever it died: %s', { timeout: 300_000 }, async (_, changes) => {
    const expected = await whole(changes);
    const moments = await snapshots(changes);
    expect(moments.length).toBeGreaterThan(5);
    for (const moment of spread(moments, MOMENTS)) {
      const { files } = await resume(moment, changes, { resume: 'auto' });
      expect(files, moment).toEqual(expected);
    }
  });

  it('does not train again what was finished', async () => {
    const run = fakeRun();
    await stopAfter(WAVE + 2, {}, run);
    expect(run.engine.waves).toHaveLength(2);
    const { run: rest } = await resume(folder);
    const all = fakeRun();
    await trainRun(configOf(path.join(root, 'other')), all.context);
    expect(rest.engine.waves).toEqual(all.engine.waves.slice(1));
  });

  it('says where it goes on, and how to when it is stopped', async () => {
    const error = await stopAfter(ROUND + WAVE + 1);
    const rest = 'to go on: fltac train --resume';
    expect(error).toMatchObject({
      code: 'ABORTED',
      message: expect.stringContaining(`stopped in round 2 of 3: round 1 is saved in ${folder}, and`) as string,
    });
    expect((error as Error).message).toMatch(new RegExp(`local fine-tunes of round 2\n${rest} ${folder}$`));
    const { run } = await resume(folder);
    expect(run.lines.join('\n')).toContain(`${folder} goes on after round 1 of 3`);
  });

  it.each([
    ['stopped by Ctrl-C', 'ABORTED', /^stopped at the end of the run: rounds 1 to 3 are saved in /],
    ['out of room', 'IO', /^no room\nthat was at the end of the run: rounds 1 to 3 are saved in /],
  ] as const)('writes its final adapters, where it was %s in the middle of them', async (_, code, message) => {
    const run = fakeRun();
    const { face } = run.context.parts!;
    const write = face.writeSafetensors.bind(face);
    face.writeSafetensors = async (file, ...rest) => {
      if (file.includes(`${path.sep}mrpc${path.sep}`)) {
        if (code === 'IO') throw new FltacError('IO', 'no room');
        run.controller.abort();
      }
      return write(file, ...rest);
    };
    const error: unknown = await trainRun(configOf(folder), run.context).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect((error as Error).message).toMatch(/\nto go on: fltac train --resume \S+$/);
    expect(await readdir(inFolder('final'))).not.toContain('rte');
    const { files } = await resume(folder);
    expect(files).toEqual(await whole());
  });

  it('proves what is saved at its end, where it was stopped in that proof', async () => {
    const run = fakeRun();
    const evaluate = run.engine.evaluate.bind(run.engine);
    let calls = 0;
    run.engine.evaluate = (...args) => {
      calls += 1;
      return evaluate(...args);
    };
    await trainRun(configOf(path.join(root, 'counted')), run.context);
    const all = calls;
    const stopped = fakeRun();
    calls = 0;
    stopped.engine.evaluate = (...args) => {
      calls += 1;
      if (calls === all) return Promise.reject(new FltacError('ABORTED', 'stopped'));
      return evaluate(...args);
    };
    await expect(trainRun(configOf(folder), stopped.context)).rejects.toThrow(
      /^stopped at the end of the run: rounds 1 to 3 are saved in .*\nto go on: fltac train --resume/,
    );
    expect(await readdir(folder)).not.toContain('manifest.json');
    const { files } = await resume(folder);
    expect(Object.keys(files)).toContain('manifest.json');
    expect(files).toEqual(await whole());
  });

  it('tells the outcome of the whole', async () => {
    const expected = await trainRun(configOf(path.join(root, 'whole')), fakeRun().context);
    await stopAfter(ROUND + 5);
    const { outcome } = await resume(folder);
    const same = { folder: '', seconds: 0 };
    expect({ ...outcome, ...same }).toEqual({ ...expected, ...same });
    const again = await resume(folder);
    expect({ ...again.outcome, ...same }).toEqual({ ...expected, ...same });
    expect(again.run.engine.waves).toEqual([]);
  });

  it('may be given more rounds, and is then the longer run', async () => {
    await trainRun(configOf(folder, { rounds: 2 }), fakeRun().context);
    const { files } = await resume(folder, { rounds: 3 });
    expect(files).toEqual(await whole({ rounds: 3 }));
  });

  it('keeps the record of its first machine, and says what was different later', async () => {
    await stopAfter(ROUND + 5);
    const before = JSON.parse(await readFile(inFolder('environment.json'), 'utf8')) as Row;
    const { run } = await resume(folder, { threads: 3, cohort: 5 });
    const after = JSON.parse(await readFile(inFolder('environment.json'), 'utf8')) as Row;
    const { resumed, ...first } = after;
    expect(first).toEqual(before);
    expect(resumed).toMatchObject([{ after_round: 1, threads: 3, cohort: 5 }]);
    expect(Object.keys((resumed as Row[])[0]!)).not.toContain('model');
    expect(run.lines.join('\n')).toMatch(/cohort was 4, is 5; threads was \d+, is 3: .*last digits/);
  });

  it('keeps the cohort that fltac chose for it', async () => {
    await stopAfter(ROUND + 5, { cohort: 'auto' });
    const file = inFolder('checkpoint/state.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace(/"cohort": \d+/, '"cohort": 3'));
    const { run } = await resume(folder, { cohort: 'auto' });
    expect(Math.max(...run.engine.waves.map((wave) => wave.length))).toBe(3);
    expect(run.lines.join('\n')).toContain('cohort 3: the run began with it');
  });

  it('keeps the type that a measurement chose for it, and one that was asked for', async () => {
    await stopAfter(ROUND + 5, { dtype: 'auto' });
    const file = inFolder('checkpoint/state.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace('"dtype": "float32"', '"dtype": "bfloat16"'));
    const asked: unknown[] = [];
    const noting = (context: TrainContext): TrainContext => {
      const { face, ...parts } = context.parts!;
      const load: typeof face.load = (model, options) => {
        asked.push(options.dtype);
        return face.load(model, options);
      };
      return { ...context, parts: { ...parts, face: { ...face, load } } };
    };
    const run = fakeRun({ resume: true });
    await trainRun(configOf(folder, { dtype: 'auto' }), noting(run.context));
    expect(asked).toEqual(['bfloat16']);
    expect(run.lines.join('\n')).toContain('because the run began with it');
    await trainRun(configOf(inFolder('other'), { dtype: 'float16' }), noting(fakeRun().context));
    expect(asked).toEqual(['bfloat16', 'float16']);
  });

  it('leaves nothing of writes that were cut off', async () => {
    await stopAfter(ROUND + 5);
    for (const name of ['metrics.jsonl.tmp-12', 'checkpoint/state.json.tmp-12000001', 'adapters_round_2.pt.tmp-12']) {
      await writeFile(inFolder(name), 'half');
    }
    const { files } = await resume(folder);
    expect(files).toEqual(await whole());
  });

  it('leaves nothing of a checkpoint that was committed and not tidied', async () => {
    await trainRun(fakeConfig(folder), fakeRun().context);
    const stale = inFolder(path.join('checkpoint', 'round_3_work_2.safetensors'));
    await writeFile(stale, 'left behind');
    await trainRun(fakeConfig(folder), { ...fakeRun().context, resume: true });
    expect((await readdir(inFolder('checkpoint'))).sort()).toEqual(['round_3.safetensors', 'state.json']);
  });

  it('in a folder that was moved goes on there', async () => {
    await stopAfter(ROUND + 5);
    const moved = path.join(root, 'moved');
    await cp(folder, moved, { recursive: true });
    const { files } = await resume(moved);
    expect(files).toEqual(await whole());
  });
});

describe('a run is not resumed', () => {
  it('with other settings, which are all named with both values', async () => {
    await stopAfter(ROUND + 5);
    const before = await contents(folder);
    await expect(resume(folder, { lr: 0.5, method: 'oracle', targetModules: ['query'] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /other settings:\n {2}method: "fltac" there, "oracle" now\n {2}lr: 0.02 there, 0.5 now\n {2}target_modules: \["query","value"\] there, \["query"\] now\n/,
      ) as string,
    });
    expect(await contents(folder)).toEqual(before);
  });

  it('with fewer rounds than it has done', async () => {
    await trainRun(configOf(folder), fakeRun().context);
    await expect(resume(folder, { rounds: 2 })).rejects.toThrow(/has done 3 rounds: .* at least 3, found 2/);
    await rm(folder, { recursive: true });
    await stopAfter(ROUND + 5);
    await expect(resume(folder, { rounds: 1 })).rejects.toThrow(/has done 1 rounds of more: .* at least 2, found 1/);
  });

  it('before anything is downloaded, where its settings differ', async () => {
    await stopAfter(ROUND + 5);
    const run = fakeRun({ resume: true });
    run.context.parts!.resolveModel = () => Promise.reject(new Error('the model was looked for'));
    await expect(trainRun(configOf(folder, { seed: 1 }), run.context)).rejects.toThrow(/seed: 42 there, 1 now/);
  });

  it('from another revision of the model or other data', async () => {
    await stopAfter(ROUND + 5);
    const other = fakeRun({ resume: true });
    other.context.parts!.resolveModel = () => Promise.resolve({ folder: 'm', id: 'org/fake', revision: 'def456' });
    await expect(trainRun(configOf(folder), other.context)).rejects.toThrow(
      /other model files or data:\n {2}model: .*abc123.* there, .*def456.* now/,
    );
    const fewer = fakeRun({ resume: true });
    const tasks = [{ ...fewer.tasks[0]!, trainRows: 399 }, ...fewer.tasks.slice(1)];
    fewer.context.parts!.loadScenario = () =>
      Promise.resolve({ name: 'glue', metric: 'accuracy' as const, tasks, provenance: [] });
    await expect(trainRun(configOf(folder), fewer.context)).rejects.toThrow(/ {2}partition: /);
  });

  it('from local files of the same names and rows that hold something else', async () => {
    const from = (hash: string, changes: Parameters<typeof fakeRun>[0] = {}) => {
      const run = fakeRun(changes);
      const provenance = [{ repo: 'custom/sst2', revision: 'local', files: ['mood.csv'], sha256: [hash] }];
      run.context.parts!.loadScenario = () =>
        Promise.resolve({ name: 'glue', metric: 'accuracy' as const, tasks: run.tasks, provenance });
      return run;
    };
    await trainRun(configOf(folder, { rounds: 1 }), from('abc').context);
    const other = from('def', { resume: true });
    await expect(trainRun(configOf(folder, { rounds: 2 }), other.context)).rejects.toThrow(
      /other model files or data:\n {2}files: \{"mood.csv":"abc"\} there, \{"mood.csv":"def"\} now/,
    );
    // A checkpoint that tells no digests was written by a version before them.
    const state = inFolder('checkpoint/state.json');
    const { origin, ...rest } = JSON.parse(await readFile(state, 'utf8')) as { origin: Row };
    delete origin['files'];
    await writeFile(state, JSON.stringify({ ...rest, origin }));
    await trainRun(configOf(folder, { rounds: 2 }), from('def', { resume: true }).context);
  });

  it('where there is none, unless it may begin', async () => {
    await expect(resume(folder)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(resume(folder)).rejects.toThrow(/no run to resume in .*--resume auto/);
    expect(await readdir(root)).toEqual([]);
    const { files } = await resume(folder, {}, { resume: 'auto' });
    expect(files).toEqual(await whole());
  });

  it('in a folder of something else', async () => {
    await mkdir(folder);
    await writeFile(inFolder('notes.txt'), 'mine');
    for (const how of [true, 'auto'] as const) {
      await expect(resume(folder, {}, { resume: how })).rejects.toThrow(/no run of fltac: there is nothing to resume/);
    }
  });

  it('whose rounds are saved without a checkpoint, and they stay', async () => {
    await trainRun(configOf(folder), fakeRun().context);
    await rm(inFolder('checkpoint'), { recursive: true });
    const before = await contents(folder);
    await expect(resume(folder, {}, { resume: 'auto' })).rejects.toThrow(/saved rounds but no checkpoint/);
    expect(await contents(folder)).toEqual(before);
  });

  it('and overwritten at once', async () => {
    await expect(resume(folder, {}, { overwrite: true })).rejects.toMatchObject({ code: 'USAGE' });
  });
});

/** What a continuation reads besides the state, by file. */
const READERS: Record<string, (record: CheckpointRecord) => Promise<unknown>> = {
  'checkpoint/round_1.safetensors': (record) => {
    const { engine, context } = fakeRun();
    return readCheckpointState(context.parts!.face, folder, record, engine.layout());
  },
  'metrics.jsonl': ({ journals }) => cutJournal(inFolder('metrics.jsonl'), journals.metrics),
  'cluster_assignments.jsonl': ({ journals }) =>
    cutJournal(inFolder('cluster_assignments.jsonl'), journals.assignments),
  'geometry.jsonl': ({ journals }) => cutJournal(inFolder('geometry.jsonl'), journals.geometry),
};

describe('a damaged checkpoint', () => {
  it('is told at whatever byte its state ends', { timeout: 600_000 }, async () => {
    await stopAfter(ROUND + 5);
    const file = inFolder('checkpoint/state.json');
    const text = await readFile(file);
    for (let size = 0; size < text.length - 2; size += 1) {
      await writeFile(file, text.subarray(0, size));
      await expect(readCheckpoint(folder), `${size} bytes`).rejects.toMatchObject({ code: 'FORMAT' });
    }
    await expect(resume(folder)).rejects.toMatchObject({ code: 'FORMAT' });
    await writeFile(file, text);
    await expect(resume(folder)).resolves.toBeDefined();
  });

  it.each(Object.entries(READERS))(
    'is told at whatever byte %s ends, and works once that is whole again',
    { timeout: 600_000 },
    async (name, read) => {
      await stopAfter(ROUND + 5);
      const bytes = await readFile(inFolder(name));
      const record = (await readCheckpoint(folder))!;
      for (let size = 0; size < bytes.length; size += 1) {
        await writeFile(inFolder(name), bytes.subarray(0, size));
        await expect(read(record), `${size} bytes`).rejects.toMatchObject({
          code: 'FORMAT',
          message: expect.stringMatching(/restore the file, or give --overwrite to begin anew$/) as string,
        });
      }
      await expect(resume(folder)).rejects.toMatchObject({ code: 'FORMAT' });
      await writeFile(inFolder(name), bytes);
      expect((await resume(folder)).files).toEqual(await whole());
    },
  );

  it('of which the adapters are gone is told', async () => {
    await stopAfter(ROUND + 5);
    await rm(inFolder('checkpoint/round_1.safetensors'));
    await expect(resume(folder)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(/round_1\.safetensors: it is missing\. The run cannot go on/) as string,
    });
  });

  it.each([
    ['of another format', (state: Row) => ({ ...state, format: 2 }), /expected format 1, found 2/],
    ['without a journal', (state: Row) => ({ ...state, journals: {} }), /journals/],
    ['with a round below zero', (state: Row) => ({ ...state, round: -1 }), /round/],
    ['that is a list', () => [], /state\.json/],
  ])('%s is told', async (_, change, message) => {
    await stopAfter(ROUND + 5);
    const file = inFolder('checkpoint/state.json');
    await writeFile(file, JSON.stringify(change(JSON.parse(await readFile(file, 'utf8')) as Row)));
    await expect(resume(folder)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(message) as string,
    });
  });

  it.each(['checkpoint/round_1.safetensors', 'metrics.jsonl', 'cluster_assignments.jsonl'])(
    'is told where %s is not what it knows',
    async (name) => {
      await stopAfter(ROUND + 5);
      const bytes = await readFile(inFolder(name));
      bytes[20]! ^= 1;
      await writeFile(inFolder(name), bytes);
      await expect(resume(folder)).rejects.toMatchObject({ code: 'FORMAT' });
      await truncate(inFolder(name), 10);
      await expect(resume(folder)).rejects.toMatchObject({ code: 'FORMAT' });
    },
  );

  it.each(['round_2_work_1.safetensors', 'round_2_work.json'])(
    'of local work is left out at whatever byte %s ends, and told',
    { timeout: 600_000 },
    async (name) => {
      await stopAfter(ROUND + WAVE + 1);
      const { face } = fakeRun().context.parts!;
      const kept = async () => {
        const lines: string[] = [];
        const note = (line: string) => void lines.push(line);
        const parts = [];
        const work = new LocalWork(face, folder, { ...silentLog(), warn: note });
        for await (const found of work.load(2)) parts.push(...found);
        return { parts: parts.length, lines };
      };
      expect(await kept()).toEqual({ parts: 4, lines: [] });
      const file = inFolder(`checkpoint/${name}`);
      const text = (await readFile(file, 'utf8')).trimEnd();
      for (let size = 0; size < text.length; size += 1) {
        await writeFile(file, text.slice(0, size));
        const { parts, lines } = await kept();
        expect([parts, lines.length], `${size} bytes`).toEqual([0, 1]);
        expect(lines[0]).toMatch(/^kept local work of round 2 in \S+ is damaged: (all|4) local jobs are done again$/);
      }
    },
  );

  it.each(['round_2_work_1.safetensors', 'round_2_work.json'])(
    'of local work costs that work only, and is told: %s',
    async (name) => {
      await stopAfter(ROUND + WAVE + 1);
      await truncate(inFolder(`checkpoint/${name}`), 30);
      const { run, files } = await resume(folder);
      expect(run.lines.join('\n')).toMatch(/kept local work of round 2 .* is damaged: .* are done again/);
      expect(files).toEqual(await whole());
    },
  );
});

describe('the folder of a run', () => {
  it('has one checkpoint of its last round, and no local work, at the end', async () => {
    await trainRun(configOf(folder), fakeRun().context);
    expect((await readdir(inFolder('checkpoint'))).sort()).toEqual(['round_3.safetensors', 'state.json']);
  });

  it('records who took part, where it was not everyone', async () => {
    await trainRun(configOf(folder, { participation: 2, dropoutClients: 0.5 }), fakeRun().context);
    const rows = await readJsonl(inFolder('metrics.jsonl'));
    const clients = rows.filter((row) => row['phase'] === 'clients');
    expect(clients.map((row) => row['round'])).toEqual([1, 2, 3]);
    expect(Object.keys(clients[0]!)).toEqual('round phase selected dropped stragglers failed aggregated'.split(' '));
    const assignments = await readJsonl(inFolder('cluster_assignments.jsonl'));
    clients.forEach(({ selected, dropped }, i) => {
      const arrived = (selected as number[]).filter((client) => !(dropped as number[]).includes(client));
      expect([...new Set(assignments[i]!['clients'] as number[])]).toEqual(arrived);
    });
  });
});
