// What can be done with a run's folder: each command once, on a run that a command made.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../support/files.js';
import { run } from './support.js';

const folder = join(mkdtempSync(join(tmpdir(), 'fltac-run-')), 'run');
const SMALL = ['--rounds', '1', '--local-steps', '1', '--n-clients', '3', '--max-eval-batches', '1'];

beforeAll(async () => {
  const { code, stderr } = await run('train', ...SMALL, '--override', 'baseline_method=none', '--output-dir', folder);
  expect(stderr).toContain(`the run's files are in ${folder}`);
  expect(code).toBe(0);
}, 60_000);
afterAll(() => rmSync(join(folder, '..'), { recursive: true }));

describe('a finished run', () => {
  it('is reported in one file, and its figures as files', async () => {
    const figures = join(temporaryFolder(), 'figures');
    const { code, stdout } = await run('report', folder, '--figures', figures);
    expect(code).toBe(0);
    expect(stdout).toContain('fltac on quickstart, complete: 1 round; accuracy: sentiment ');
    expect(stdout).toContain(join(folder, 'report.html'));
    expect(readdirSync(figures).some((name) => name.endsWith('.svg'))).toBe(true);
  });

  it('is verified line by line', async () => {
    const { code, stdout } = await run('verify', folder);
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/^fail/im);
    expect(stdout).toContain('checkpoint');
  });

  it('gives the scores of its last round again', async () => {
    const trained = await run('evaluate', folder, '--format', 'json');
    expect(trained.code).toBe(0);
    expect(JSON.stringify(JSON.parse(trained.stdout))).toContain('"task":"sentiment"');
  });

  it.each(['peft', 'merged'])('is exported as %s', async (form) => {
    const out = join(temporaryFolder(), form);
    const { code } = await run('export', folder, '--as', form, '--tasks', 'topic', '--out', out);
    expect(code).toBe(0);
    const weights = form === 'peft' ? 'adapter_model.safetensors' : 'model.safetensors';
    expect(existsSync(join(out, 'topic', weights))).toBe(true);
  });

  it('is turned into event files for TensorBoard', async () => {
    const { code, stdout } = await run('tensorboard', folder);
    expect(code).toBe(0);
    expect(existsSync(stdout.trim())).toBe(true);
  });
});

describe('study rank', () => {
  it('prints a row for each rank, and keeps what it measured', async () => {
    const out = join(temporaryFolder(), 'study');
    const argv = ['--ranks', '1,2', '--seeds', '1', '--steps', '2', '--max-eval-batches', '1', '--out', out];
    const { code, stdout } = await run('study', 'rank', ...argv);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^shared +1 .* 0\.\d+/m);
    expect(stdout).toMatch(/^per task +2 .* 0\.\d+/m);
    expect(readdirSync(out).sort()).toEqual(['rank.json', 'rank.svg']);
  });
});
