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

  it('there are of K-means and of training', () => {
    expect(KEPT).toEqual(expect.arrayContaining(['kmeans-bert.json', 'train-minilm-cpu.json']));
  });

  it.each([
    ['{"schema": "another"}', /is not a measurement: expected a file that fltac bench/],
    ['{', /is not JSON/],
  ])('that are none are refused: %s', async (text, message) => {
    const file = join(temporaryFolder(), 'x.json');
    writeFileSync(file, text);
    await expect(readBench(file)).rejects.toMatchObject({ code: 'FORMAT', message });
    await expect(readBench(`${file}.gone`)).rejects.toMatchObject({ code: 'IO' });
  });
});
