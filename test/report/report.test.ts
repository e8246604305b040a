import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeReport } from '../../src/report/report.js';
import { writeRun, type MadeUp } from './support.js';

let root: string;
let run: string;
beforeAll(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-report-'));
  run = await make('run');
});
afterAll(() => rm(root, { recursive: true }));

const make = (name: string, changes: Partial<MadeUp> = {}) =>
  writeRun(path.join(root, name), { rounds: 3, clients: 5, ...changes });
const page = (name: string) => path.join(root, `${name}.html`);
const EACH = ['allocation', 'adapters', 'distances', 'flow', 'confusion'];

describe('a report', () => {
  it('of one run lies in its folder and says in one line what the run found beside floor and untuned backbone', async () => {
    const { page: file, runs, bytes } = await writeReport([run]);
    expect(file).toBe(path.join(run, 'report.html'));
    expect((await readFile(file)).length).toBe(bytes);
    expect(runs).toHaveLength(1);
    expect(runs[0]!.headline).toMatch(
      /^fltac on glue, complete: 3 rounds; accuracy: sst2 0\.700 \(floor 0\.510, untuned 0\.520\), mrpc .*; clustering accuracy [01]\.\d{3}; \d+\.\d\d MB up, \d+\.\d\d MB down; 4\.5 s in rounds$/,
    );
  });

  it('of one run has every figure but the radar, which compares runs', async () => {
    const { figures, absent } = await writeReport([run]);
    expect(figures).toEqual([
      ...['scores', 'curves', 'cost', 'clustering', 'losses'],
      ...EACH.map((name) => `run-1-${name}`),
    ]);
    expect(absent).toEqual([{ figure: 'radar', reason: 'it compares runs, and this report is of one' }]);
  });

  it('has whole rounds alone on its axes, each once', async () => {
    const figures = path.join(root, 'short-figures');
    await writeReport([await make('short', { rounds: 2 })], { figures });
    for (const [id, rounds] of [
      ['curves', 3],
      ['losses', 2],
      ['clustering', 2],
    ] as const) {
      const svg = await readFile(path.join(figures, `${id}.svg`), 'utf8');
      const axis = /aria-label="x-axis tick label"[^>]*>(.*?)<\/g>/s.exec(svg)![1]!;
      const labels = [...axis.matchAll(/<text[^>]*>([^<]*)</g)].map(([, label]) => label);
      expect(new Set(labels).size, id).toBe(rounds);
      // Panels stand in up to two columns.
      expect(labels.length, id).toBeLessThanOrEqual(2 * rounds);
    }
  });

  it('has the labels of the scale of distances beside its bar', async () => {
    const figures = path.join(root, 'scale-figures');
    await writeReport([run], { out: page('scale'), figures });
    const svg = await readFile(path.join(figures, 'run-1-distances.svg'), 'utf8');
    // A turned picture, as the bar once was, is lost in a PNG. It is 12 pixels wide about its middle.
    expect(svg).not.toContain('rotate');
    const bar = Number(/translate\(([\d.]+),60\)/.exec(svg)![1]) - 6;
    const labels = [...svg.matchAll(/translate\(([\d.]+),(?:0|111)\)" text-anchor="end"/g)];
    expect(labels.map(([, x]) => bar - Number(x))).toEqual([6, 6]);
  });

  it('of five runs compares them all, and draws equal splits of rows once', async () => {
    const folders = await Promise.all(
      [1, 2, 3, 4, 5].map((seed) => make(`five-${seed}`, { seed: seed === 5 ? 4 : seed })),
    );
    const out = page('five');
    const { figures, absent, runs } = await writeReport(folders, { out });
    expect(runs.map(({ name }) => name)).toEqual(['five-1', 'five-2', 'five-3', 'five-4', 'five-5']);
    expect(figures).toContain('radar');
    expect(figures.filter((id) => id.endsWith('-adapters'))).toHaveLength(5);
    expect(absent).toEqual([{ figure: 'run-5-allocation', reason: 'the rows are split as in five-4' }]);
    expect(await readFile(out, 'utf8')).toContain('Settings that differ');
  });

  it('shows the baseline that was trained beside a run', async () => {
    const folder = await make('with-baseline', { changes: { baselineMethod: 'fedit' } });
    await writeRun(path.join(folder, 'baseline_fedit'), { rounds: 3, clients: 5, method: 'fedit' });
    const { runs } = await writeReport([folder], { out: page('baseline') });
    expect(runs.map(({ name }) => name)).toEqual(['fltac', 'fedit']);
  });

  it('is the same for the same runs, and refers to nothing outside itself', async () => {
    const html = async () => readFile((await writeReport([run])).page, 'utf8');
    const first = await html();
    expect(await html()).toBe(first);
    const addresses = [...first.matchAll(/https?:\/\/[^"'\\\s)]+/g)].map(([address]) => address);
    expect(new Set(addresses)).toEqual(new Set(['http://www.w3.org/2000/svg']));
    expect(first).toMatch(/Content-Security-Policy" content="default-src 'none'/);
    expect(first).not.toMatch(/<link|<iframe|@import|src="(?!data:)/);
  });

  it.each(['svg', 'png'] as const)('leaves each figure as a file, too (%s)', async (format) => {
    const folder = path.join(root, `figures-${format}`);
    const { figures, files } = await writeReport([run], { out: page('f'), figures: folder, format });
    expect(files).toEqual(figures.map((id) => path.join(folder, `${id}.${format}`)));
    for (const file of files) {
      const { format: found, width } = await sharp(file).metadata();
      expect([file, found]).toEqual([file, format]);
      expect(width).toBeGreaterThan(400);
      if (format === 'svg') expect(await readFile(file, 'utf8')).not.toMatch(/var\(--|currentColor/);
    }
  });

  it('of 200 rounds with 100 clients stays below 10 MB', async () => {
    const folder = await make('large', { rounds: 200, clients: 100, measured: 200 });
    const { bytes, absent } = await writeReport([folder]);
    expect(bytes).toBeLessThan(10e6);
    expect(absent).toEqual([{ figure: 'radar', reason: 'it compares runs, and this report is of one' }]);
  });
});

describe('a run that is not finished', () => {
  it('is shown as far as it is, and says whether somebody works on it', async () => {
    const folder = await make('going', { changes: { rounds: 9 } });
    expect((await writeReport([folder])).runs[0]!.state).toBe('stopped: 3 of 9 rounds');
    await writeFile(path.join(folder, 'run.lock'), `${process.pid} ${os.hostname()}`);
    expect((await writeReport([folder])).runs[0]!.state).toBe('in progress: 3 of 9 rounds');
    // No process has a number this high: the lock of one that was killed.
    await writeFile(path.join(folder, 'run.lock'), `${2 ** 30} ${os.hostname()}`);
    expect((await writeReport([folder])).runs[0]!.state).toBe('stopped: 3 of 9 rounds');
  });

  it('is not shown beyond its last complete round, and a line that is being written is passed over', async () => {
    const folder = await make('cut', { changes: { rounds: 9 } });
    const metrics = path.join(folder, 'metrics.jsonl');
    await appendFile(
      metrics,
      `${JSON.stringify({ round: 4, phase: 'eval', task: 'sst2', metric: 0.1 })}\n{"round":4,"pha`,
    );
    const { runs } = await writeReport([folder]);
    expect(runs[0]!.state).toBe('stopped: 3 of 9 rounds');
    expect(runs[0]!.headline).toContain('sst2 0.700');
  });

  it('before its first complete round has the untuned scores and says of each figure why it is absent', async () => {
    const folder = await make('begun', { rounds: 0, changes: { rounds: 9 } });
    const { figures, absent } = await writeReport([folder]);
    expect(figures).toEqual(['run-1-allocation']);
    expect(absent.map(({ figure }) => figure)).toHaveLength(10);
    expect(await readFile(path.join(folder, 'report.html'), 'utf8')).toContain('stopped: 0 of 9 rounds');
  });
});

describe('what cannot be shown is one clear error', () => {
  const failure = async (folders: readonly string[]) =>
    writeReport(folders, { out: page('failed') }).then(
      () => undefined,
      (error: unknown) => error,
    );

  it('for a folder that is absent, empty, or no run', async () => {
    expect(await failure([path.join(root, 'nowhere')])).toMatchObject({
      code: 'USAGE',
      message: /nowhere is not a run's folder/,
    });
    await mkdir(path.join(root, 'empty'));
    expect(await failure([path.join(root, 'empty')])).toMatchObject({
      code: 'USAGE',
      message: /empty is empty: give the output_dir/,
    });
    expect(await failure([root])).toMatchObject({ code: 'USAGE', message: /it holds runs; give them: .*run/ });
  });

  it('for a run that has nothing to show yet', async () => {
    const folder = await make('nothing');
    await writeFile(path.join(folder, 'metrics.jsonl'), '');
    expect(await failure([folder])).toMatchObject({ code: 'USAGE', message: /nothing to show yet.*try again later/ });
  });

  it('for runs of different scenarios, naming each', async () => {
    const other = await make('dolly', {
      tasks: ['open_qa', 'summarization'],
      changes: { scenario: 'dolly', trainHead: false },
    });
    expect(await failure([run, other])).toMatchObject({
      code: 'USAGE',
      message:
        /one scenario[\s\S]*run: glue \(accuracy\), sst2, mrpc, qnli, rte\n.*dolly: dolly \(loss\), open_qa, summarization/,
    });
  });

  it('for a run whose assignments are gone', async () => {
    const folder = await make('unassigned');
    await rm(path.join(folder, 'cluster_assignments.jsonl'));
    expect(await failure([folder])).toMatchObject({
      code: 'IO',
      message:
        /cluster_assignments\.jsonl is missing or has no complete round, though metrics\.jsonl has 3: put it back/,
    });
  });

  it.each([
    ['metrics.jsonl', '{"round":', /metrics\.jsonl:2 is not JSON/],
    ['metrics.jsonl', '{"round":1,"phase":"eval","task":"sst2"}', /metrics\.jsonl:2 is not a record of a run.*metric/],
    ['cluster_assignments.jsonl', '[]', /cluster_assignments\.jsonl:2 is not a record/],
    ['geometry.jsonl', '{"round":1,"submissions":[0,1],"squared_distances":"AAAA"}', /round 1 has 3 bytes.*expected 4/],
    ['partition.json', 'rows', /partition\.json cannot be read/],
    ['partition.json', '{"tasks":["sst2"],"rows":[[1]]}', /partition\.json lacks the task mrpc/],
    ['config.yaml', 'rounds: many', /rounds/],
  ])('for a broken %s (%s)', async (name, text, message) => {
    const folder = await make('broken');
    const file = path.join(folder, name);
    const lines = (await readFile(file, 'utf8')).split('\n');
    await writeFile(file, name.endsWith('.jsonl') ? lines.toSpliced(1, 1, text).join('\n') : text);
    const error = await failure([folder]);
    expect(error).toMatchObject({ name: 'FltacError', message });
  });
});
