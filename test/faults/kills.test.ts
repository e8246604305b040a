// The short form of `npm run test:kills`: real processes, the real engine.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { killRuns } from '../../scripts/faults/kills.mjs';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const SHORT = ['--rounds', '1', '--n-clients', '3', '--max-eval-batches', '1', '--override', 'baseline_method=none'];

let root: string;
beforeEach(async () => (root = await mkdtemp(path.join(os.tmpdir(), 'fltac-kills-'))));
afterEach(() => rm(root, { recursive: true }));

it('a run that is killed and resumed ends with the files of one that was not', { timeout: 300_000 }, async () => {
  const kills = await killRuns({ folder: root, kills: 4, seed: 2, arguments: [...SHORT, '--local-steps', '2'] });
  expect(kills.map((kill) => kill.trigger)).toEqual(['time', 'write', 'checkpoint', 'evaluation']);
  const different = kills.filter((kill) => kill.differences.length > 0);
  expect(different, JSON.stringify(different, null, 2)).toEqual([]);
});

/** Starts a run too long to wait for, and sends it signals once it trains. */
async function interrupted(folder: string, signals: readonly NodeJS.Signals[]) {
  const argv = [MAIN, 'train', ...SHORT, '--local-steps', '20000', '--output-dir', folder];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  while (child.exitCode === null && !existsSync(path.join(folder, 'checkpoint', 'state.json'))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  for (const signal of signals) {
    child.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { code: await ended, err };
}

it.each([[['SIGINT']], [['SIGTERM']], [['SIGINT', 'SIGINT']]] as const)(
  '%j ends a run with 130, and it can be resumed',
  { timeout: 300_000 },
  async (signals) => {
    const folder = path.join(root, 'run');
    const { code, err } = await interrupted(folder, signals);
    expect(code).toBe(130);
    if (signals.length === 1) expect(err).toContain(`to go on: fltac train --resume ${folder}`);
    const again = await interrupted(folder, []);
    expect([again.code, again.err]).toEqual([2, expect.stringContaining('--resume') as string]);
  },
);
