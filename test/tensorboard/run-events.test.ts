import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runScalars, writeRunEvents } from '../../src/tensorboard/run-events.js';
import { trainRun } from '../../src/run/train.js';
import { fakeConfig, fakeRun } from '../run/support.js';
import { temporaryFolder } from '../support/files.js';

const LINES = [
  { round: 0, phase: 'eval', task: 'a', metric: 0.5 },
  { round: 1, phase: 'local', client: 0, task: 'a', loss: 1, n: 30 },
  { round: 1, phase: 'local', client: 1, task: 'a', loss: 2, n: 10 },
  { round: 1, phase: 'eval', task: 'a', metric: 0.75 },
  { round: 1, phase: 'round_done', seconds: 2, optimizer_steps: 8, clustering_accuracy: 1 },
] as const;
const SECOND = [
  { round: 2, phase: 'local', client: 0, task: 'a', loss: 0.5, n: 30 },
  { round: 2, phase: 'round_done', seconds: 3, optimizer_steps: 4, clustering_accuracy: 1 },
] as const;
const ASSIGNMENT = {
  round: 1,
  labels: [0, 0],
  true_tasks: ['a', 'a'],
  clustering_accuracy: 1,
  ari: 0.5,
  inertia: 7,
  clients: [0, 1],
  samples: [30, 10],
};

function jsonl(records: readonly object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

function runFolder(): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'config.yaml'), 'scenario: quickstart\n');
  writeFileSync(join(folder, 'environment.json'), JSON.stringify({ started: '2026-01-01T00:00:00.000Z' }));
  writeFileSync(join(folder, 'metrics.jsonl'), jsonl(LINES));
  writeFileSync(join(folder, 'cluster_assignments.jsonl'), jsonl([ASSIGNMENT]));
  return folder;
}

describe('the curves of a run', () => {
  it('are the losses weighted by rows, metrics, clustering scores and times, by round', () => {
    expect(
      runScalars(LINES, [ASSIGNMENT], 100).map(({ tag, step, value, wallTime }) => [step, tag, value, wallTime]),
    ).toEqual([
      [0, 'metric/a', 0.5, 100],
      [1, 'loss/a', 1.25, 102],
      [1, 'metric/a', 0.75, 102],
      [1, 'round/seconds', 2, 102],
      [1, 'clustering/accuracy', 1, 102],
      [1, 'clustering/ari', 0.5, 102],
      [1, 'clustering/inertia', 7, 102],
    ]);
  });

  it('leave out a round that is not complete', () => {
    expect(runScalars([...LINES, SECOND[0]], [], 0).every(({ step }) => step < 2)).toBe(true);
  });

  it('go on in the same file when the run does, and begin anew when the run was made again', async () => {
    const folder = runFolder();
    const first = readFileSync(await writeRunEvents(folder));
    writeFileSync(join(folder, 'metrics.jsonl'), jsonl([...LINES, ...SECOND]));
    const file = await writeRunEvents(folder);
    const second = readFileSync(file);
    expect(second.length).toBeGreaterThan(first.length);
    expect(second.subarray(0, first.length).equals(first)).toBe(true);
    writeFileSync(join(folder, 'metrics.jsonl'), jsonl(LINES));
    expect(await writeRunEvents(folder)).toBe(file);
    expect(readFileSync(file).equals(first)).toBe(true);
  });

  it('are written as a run goes where its configuration asks for them', async () => {
    const folder = join(temporaryFolder(), 'run');
    const config = fakeConfig(folder, { tensorboard: true, report: false });
    await trainRun(config, fakeRun().context);
    const [file] = readdirSync(join(folder, 'tensorboard'));
    const during = readFileSync(join(folder, 'tensorboard', file!));
    expect(readFileSync(await writeRunEvents(folder)).equals(during)).toBe(true);
    expect(during.length).toBeGreaterThan(1000);
  });

  it('of a folder that is no run are refused by name', async () => {
    const message = /is not a run's folder: it has no config\.yaml/;
    await expect(writeRunEvents(temporaryFolder())).rejects.toMatchObject({ code: 'USAGE', message });
  });
});
