import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/engine/load.js';
import { installPacked } from './support.js';

const SLOW = 300_000;

let project: string;
let home: string;
let installed: string;
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'fltac-consumer-'));
  home = mkdtempSync(join(tmpdir(), 'fltac-home-'));
  installed = installPacked(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', type: 'module', private: true }));
});
afterAll(() => {
  for (const folder of [project, home]) rmSync(folder, { recursive: true, force: true });
});

/** Runs Node in the project, in a home folder where nothing is. */
async function node(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { PATH: process.env['PATH'], HOME: home };
  return promisify(execFile)(process.execPath, args, { cwd: project, env });
}

/** Takes an example out of the installed package, as a reader would. */
function example(name: string): string {
  copyFileSync(join(installed, 'examples', name), join(project, name));
  return name;
}

describe('the installed package', () => {
  it('trains the quickstart', { timeout: SLOW }, async () => {
    const command = join(installed, 'dist', 'cli', 'main.js');
    const flags = ['--rounds', '1', '--override', 'baseline_method=none', 'local_steps=2', 'max_eval_batches=1'];
    const { stdout, stderr } = await node(command, 'train', ...flags);
    expect(stdout).toMatch(/^contradiction +\d\.\d{3}/m);
    expect(stderr).toContain('round 1/1: loss');
    expect(existsSync(join(project, 'results', 'quickstart_fltac', 'report.html'))).toBe(true);
    expect(existsSync(join(home, '.cache'))).toBe(false);
  });

  it('runs inside a program, which hears of every round, and goes on with it', { timeout: SLOW }, async () => {
    const name = example('embed.mjs');
    const first = await node(name, 'embedded', '1');
    expect(first.stdout).toMatch(/^round 1 of 1 in [\d.]+ s, tasks found: \d+\.\d %; sentiment \d+\.\d %, topic/);
    expect(first.stdout).toMatch(/^sentiment: \d+\.\d % \(floor 50\.0 %\)$/m);
    const more = await node(name, 'embedded', '2');
    expect(more.stdout).toMatch(/^round 2 of 2 in/);
    expect(more.stdout).not.toContain('round 1 of');
  });

  it('gives rounds in memory to a program', { timeout: SLOW }, async () => {
    const { stdout } = await node(example('rounds.mjs'), '1');
    expect(stdout).toMatch(
      /^\d+ adapters of 4802 values: 6 clients, 4 tasks\nround 1: 4 clusters, mean accuracy 0\.\d{3}\n/,
    );
    expect(stdout.match(/^cluster \d: 4802 values$/gm)).toHaveLength(4);
  });

  it('resolves its types under the strictest settings', { timeout: SLOW }, () => {
    writeFileSync(join(project, 'consumer.ts'), CONSUMER);
    const tsc = join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc');
    const settings = [
      '--strict',
      '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess',
      '--skipLibCheck',
      'false',
    ];
    const target = ['--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--noEmit'];
    const compile = () =>
      execFileSync(process.execPath, [tsc, ...settings, ...target, 'consumer.ts'], { cwd: project });
    try {
      compile();
    } catch (error) {
      expect((error as { stdout: Buffer }).stdout.toString()).toBe('');
    }
  });

  it('is documented by the examples that it has', () => {
    const page = readFileSync(join(packageRoot, 'docs', 'library.md'), 'utf8');
    for (const name of ['embed.mjs', 'rounds.mjs']) expect(page).toContain(`(../examples/${name})`);
  });
});

/** What docs/library.md promises, as a program that must compile. */
const CONSUMER = `
import { Backbone, Federation, FltacError, exportRun, kmeans, loadConfig, makeConfig, openFederation } from 'fltac';
import { silentLog, trainRun, verifyRun } from 'fltac';
import type { ErrorCode, Log, RoundEvent, RoundOutcome, RunConfig, TaskScore, TrainOutcome, VerifyOutcome } from 'fltac';
import { writeReport, type ReportOutcome } from 'fltac/report';

const config: RunConfig = makeConfig({ scenario: 'glue', nClients: 3, tasks: ['sst2', 'rte'] });
const events: RoundEvent[] = [];
const log: Log = { info() {}, warn() {}, progress: () => ({ update() {}, done() {} }) };
export const outcome: Promise<TrainOutcome> = trainRun(config, {
  log,
  signal: AbortSignal.timeout(1000),
  onRound: (event) => void events.push(event),
});
export async function rounds(): Promise<readonly TaskScore[]> {
  const { federation, dispose } = await openFederation(config);
  const own: Federation = federation;
  const round: RoundOutcome = await own.round(1);
  dispose();
  return round.scores ?? [];
}
export async function native(): Promise<number> {
  const { labels, inertia } = await kmeans(new Float32Array(8), { rows: 4, columns: 2, k: 2, seed: 1 });
  const backbone: Backbone = await Backbone.load('folder');
  const label: number = labels[0] ?? 0;
  return backbone.info.numLayers + label + inertia;
}
export const page: Promise<ReportOutcome> = writeReport(['run'], { figures: 'pictures', format: 'png' });
export const checked: Promise<VerifyOutcome> = verifyRun(
  { folder: 'run' },
  { log: silentLog(), signal: new AbortController().signal },
);
export const fromFile: RunConfig = loadConfig({ file: 'mine.yaml', overrides: ['rounds=5'] }).config;
export const written = exportRun({ folder: 'run', format: 'peft' }, { log, signal: new AbortController().signal });
export const code = (error: unknown): ErrorCode | undefined => (error instanceof FltacError ? error.code : undefined);
// @ts-expect-error a key that does not exist
makeConfig({ nclients: 3 });
`;
