import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { KmeansBenchReport } from '../../src/bench/kmeans-report.js';
import { deliver } from '../../src/cli/bench-result.js';
import { runCli } from '../../src/cli/run.js';
import { buildInfo } from '../../src/engine/index.js';
import { temporaryFolder } from '../support/files.js';
import { keeper, run } from './support.js';

const KMEANS = ['bench', 'kmeans', '--repeat', '1', '--shapes', '12x64x3'];
const TRAIN = ['bench', 'train', '--tasks', 'answer', '--local-steps', '1', '--repeat', '1'];

/** A program that answers whatever it is started for with that a peer is absent. */
function pythonWithout(): string {
  const path = join(temporaryFolder(), 'python');
  writeFileSync(path, `#!/bin/sh\necho '{"absent": "it is not here"}'\n`);
  chmodSync(path, 0o755);
  return path;
}

describe.each([
  ['kmeans', KMEANS],
  ['train', TRAIN],
])('bench %s, before it measures,', (_, argv) => {
  it.each([
    [['--python', '/nope'], 2, 'fltac: --python /nope: no such program\n'],
    [['--python', ''], 2, 'fltac: --python : no such program\n'],
    [['--out', '.'], 1, 'fltac: . cannot be written: it is a folder, expected the name of a file\n'],
    [['--out', ''], 1, 'fltac:  cannot be written: it is a folder, expected the name of a file\n'],
    [
      ['--out', '/proc/x.json'],
      1,
      expect.stringMatching(/^fltac: \/proc\/x\.json cannot be written: [A-Z]+: [\w ]+\n$/) as string,
    ],
  ])('refuses %j in one line', async (more, code, stderr) => {
    expect(await run(...argv, ...more)).toEqual({ code, stdout: '', stderr });
  });

  it('refuses a program that cannot be started', async () => {
    const folder = temporaryFolder();
    const { code, stdout, stderr } = await run(...argv, '--python', folder);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^fltac: --python .*: it cannot be started: .*EACCES\n$/);
  });

  it.skipIf(buildInfo().cuda)('refuses a device that is not there, in the words of train', async () => {
    const { code, stdout, stderr } = await run(...argv, '--device', 'cuda');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^fltac: the device cuda(:0)? does not exist: .*\n$/);
  });

  it('takes --peer none', async () => {
    const { code, stdout } = await run(...argv, '--peer', 'none');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^fltac +\d/m);
  });
});

describe('bench kmeans', () => {
  it('tells a peer asked for by name that is absent once, measures, and ends with exit code 1', async () => {
    const argv = ['15x64x3', '--peer', 'sklearn', '--python', pythonWithout()];
    const { code, stdout, stderr } = await run(...KMEANS, ...argv);
    expect(code).toBe(1);
    expect(stderr.match(/sklearn is absent: it is not here/g)).toHaveLength(1);
    expect(stderr.indexOf('absent')).toBeLessThan(stderr.indexOf('making the data'));
    expect(stdout).toMatch(/15 x 64, k 3[^]*^fltac /m);
  });

  it('has only a note of absent peers where all were asked for', async () => {
    const { code, stderr } = await run(...KMEANS, '--python', pythonWithout());
    expect(code).toBe(0);
    expect(stderr.match(/is absent: it is not here/g)).toHaveLength(4);
  });

  it('stopped after a shape prints and writes it as partial, with exit code 130', { timeout: 180_000 }, async () => {
    const out = join(temporaryFolder(), 'out.json');
    // The second shape takes far longer than the test waits.
    const argv = ['200000x64x64:50', '--peer', 'none', '--format', 'json', '--out', out];
    const [stdout, stderr] = [keeper(), keeper()];
    const ran = runCli([...KMEANS, ...argv], { stdout, stderr, env: {} });
    await vi.waitUntil(() => stderr.text().includes('200,000 x 64'), { timeout: 170_000 });
    process.listeners('SIGINT').at(-1)!('SIGINT');
    expect(await ran).toBe(130);
    expect(stderr.text()).toContain('SIGINT: stopping; once more ends at once');
    expect(stderr.text()).toContain('stopped after 1 of 2 shapes');
    const report = JSON.parse(stdout.text()) as KmeansBenchReport;
    expect(report.shapes.map(({ shape }) => shape.rows)).toEqual([12]);
    expect(report.partial?.unmeasured.map(({ rows }) => rows)).toEqual([200_000]);
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(report);
  });
});

describe('the end of a benchmark', () => {
  it('prints what was measured even where it cannot be written', async () => {
    const [stdout, stderr] = [keeper(), keeper()];
    const out = join(temporaryFolder(), 'gone', 'x.json');
    const done = deliver({ stdout, stderr, env: {} }, { format: 'text', out }, 7, (result) => `measured ${result}`);
    await expect(done).rejects.toMatchObject({ code: 'IO', message: expect.not.stringContaining('.tmp-') as string });
    expect(stdout.text()).toBe('measured 7\n');
  });
});
