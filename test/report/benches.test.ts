import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/engine/load.js';
import { readBench } from '../../src/report/benches.js';
import { benchFigure } from '../../src/report/figures/bench.js';
import { temporaryFolder } from '../support/files.js';

const RESULTS = join(packageRoot, 'bench', 'results');
const KEPT = readdirSync(RESULTS).filter((name) =>
  /^fltac\.bench\.(kmeans|train)\/1$/.test(
    (JSON.parse(readFileSync(join(RESULTS, name), 'utf8')) as { schema?: string }).schema ?? '',
  ),
);

describe('measurements in a report', () => {
  it.each(KEPT)('%s is drawn, each side with its time and its ratio to that of fltac', async (name) => {
    const bench = await readBench(join(RESULTS, name));
    const { svg, table } = benchFigure(bench, 'bench-1');
    expect(bench.works.length).toBeGreaterThan(0);
    for (const { name: work, times } of bench.works) {
      expect(times[0]).toMatchObject({ side: 'fltac', ratio: null });
      for (const { side, ratio } of times) {
        expect(table!.rows).toContainEqual(
          expect.arrayContaining([work, side, ratio === null ? '' : ratio.toFixed(2)]),
        );
      }
    }
    expect(svg).not.toContain('NaN');
    expect(svg.match(/<circle /g)).toHaveLength(bench.works.flatMap(({ times }) => times).length);
  });

  it('that were stopped after some shapes say so, and one start is one', async () => {
    const kept = JSON.parse(readFileSync(join(RESULTS, 'kmeans-bert.json'), 'utf8')) as {
      shapes: { shape: { nInit: number } }[];
    };
    kept.shapes[0]!.shape.nInit = 1;
    const file = join(temporaryFolder(), 'kmeans.json');
    writeFileSync(file, JSON.stringify({ ...kept, partial: { unmeasured: [] } }));
    const { title, works } = await readBench(file);
    expect(title).toBe('K-means (stopped before all was measured)');
    expect(works[0]!.name).toMatch(/, 1 start$/);
  });

  it('has a tick at or below the least time, where there is no peer either', () => {
    const seconds = { median: 0.0026, least: 0.0026, most: 0.0027 };
    const works = [{ name: 'points', times: [{ side: 'fltac', ratio: null, seconds }] }];
    const { svg } = benchFigure({ title: 'K-means', about: 'Made up', works }, 'bench-1');
    const axis = /aria-label="x-axis tick label"[^>]*>(.*?)<\/g>/s.exec(svg)![1]!;
    expect([...axis.matchAll(/<text[^>]*>([^<]*)</g)].map(([, label]) => label)).toEqual(['0.002', '0.005', '0.01']);
  });

  it('are drawn where a time was too short to be measured', () => {
    const seconds = { median: 0.001, least: 0, most: 0.002 };
    const works = [{ name: 'points', times: [{ side: 'fltac', ratio: null, seconds }] }];
    expect(benchFigure({ title: 'K-means', about: 'Made up', works }, 'bench-1').svg).not.toMatch(
      /NaN|undefined|Infinity/,
    );
  });

  it('of training look different where settings do, and name file and date', async () => {
    const figures = await Promise.all(
      ['train-minilm-cpu.json', 'train-minilm-bf16-epyc-cpu.json'].map(async (name) =>
        benchFigure(await readBench(join(RESULTS, name)), 'bench-1'),
      ),
    );
    expect(figures.map(({ title }) => title)).toEqual([
      expect.stringMatching(/in float32, 1 adapter of rank 4: time beside peers$/),
      expect.stringMatching(/in bfloat16, 1 adapter of rank 4: time beside peers$/),
    ]);
    expect(figures[0]!.caption).toMatch(
      /^1 adapter of 4 steps of 32 rows, at most 128 tokens, 3 times each, in turn; .*, 2 threads on 2 cores\. train-minilm-cpu\.json of \d{4}-\d\d-\d\d\. /,
    );
  });

  it('of K-means tell the inertia of each side and the limits of iterations', async () => {
    const bench = await readBench(join(RESULTS, 'kmeans-million.json'));
    const { svg, table, caption, title } = benchFigure(bench, 'bench-1');
    expect(bench.works[0]!.name).toBe('1,000,000 x 64, k 256, 1 start, at most 25 iterations');
    expect(table!.head.at(-1)).toBe('inertia / fltac');
    expect(table!.rows.map((row) => row.at(-1))).toEqual(['', '1.000194']);
    expect(svg).toContain('inertia 1.0002');
    expect(caption).toMatch(/^Whole calls on data in memory, once each; .*kmeans-million\.json of 20.*Inertia is/);
    expect(title).toBe('K-means: time beside peers');
  });

  it('without peers do not speak of any', async () => {
    const { title, caption, table } = benchFigure(await readBench(join(RESULTS, 'kmeans-llama-own.json')), 'bench-1');
    expect(title).toBe('K-means: time');
    expect(caption).toMatch(/^Whole calls on data in memory, 5 times; /);
    expect(caption).not.toMatch(/peer|Inertia|each/);
    expect(table!.head).not.toContain('inertia / fltac');
  });

  it('there are of K-means and of training', () => {
    expect(KEPT).toEqual(expect.arrayContaining(['kmeans-bert.json', 'train-minilm-cpu.json']));
  });

  it.each([
    ['{"schema": "another"}', /is no benchmark's file: expected one that fltac bench/],
    [
      '{"name": "fltac", "version": "0.1.0"}',
      /x\.json is no benchmark's file: expected one that fltac bench kmeans or fltac bench train wrote \(--out\)$/,
    ],
    ['[]', /is no benchmark's file/],
    ['{"schema": "fltac.bench.train/1"}', /is a benchmark's file \(fltac\.bench\.train\/1\), but damaged: .*machine/],
    ['{', /is not JSON/],
  ])('that are none are refused: %s', async (text, message) => {
    const file = join(temporaryFolder(), 'x.json');
    writeFileSync(file, text);
    await expect(readBench(file)).rejects.toMatchObject({ code: 'FORMAT', message });
    await expect(readBench(`${file}.gone`)).rejects.toMatchObject({ code: 'IO' });
  });
});
