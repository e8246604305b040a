import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evaluateRun } from '../../src/run/evaluate.js';
import { trainRun } from '../../src/run/train.js';
import { languageConfig, languageRun, readJsonl, type Row } from './support.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-language-'));
  folder = path.join(root, 'run');
});
afterEach(() => rm(root, { recursive: true }));

// Rows 0 to 7 are evaluated; row r has 1 + r mod 3 labelled tokens.
const TOKENS = 1 + 2 + 3 + 1 + 2 + 3 + 1 + 2;

describe('a run of a language model', () => {
  it('records the metric, the loss over all tokens and their number, before training and after each round', async () => {
    const outcome = await trainRun(languageConfig(folder), languageRun().context);
    expect(outcome).toMatchObject({ scenario: 'dolly', metric: 'loss' });
    const evals = (await readJsonl(path.join(folder, 'metrics.jsonl'))).filter((row) => row['phase'] === 'eval');
    expect(evals.map((row) => [row['round'], row['task']])).toEqual(
      [0, 1, 2].flatMap((round) => ['closed_qa', 'open_qa', 'summarization'].map((task) => [round, task])),
    );
    for (const row of evals) {
      expect(Object.keys(row)).toEqual([
        ...['round', 'phase', 'task', 'metric', 'loss', 'majority_floor', 'rows', 'adapters', 'token_loss', 'tokens'],
      ]);
      expect(row).toMatchObject({ rows: 8, tokens: TOKENS, token_loss: row['loss'] });
      // The made-up engine's loss is the same for every token, so both means agree.
      expect(row['metric']).toBeCloseTo(row['loss'] as number, 12);
    }
    for (const task of outcome.tasks) {
      expect(task.majorityFloor).toBeNull();
      expect(task.metric!).toBeLessThan(0.8 * task.untuned!);
    }
  });

  it('names its final adapters as PEFT does for language models', async () => {
    await trainRun(languageConfig(folder), languageRun().context);
    const config = JSON.parse(await readFile(path.join(folder, 'final/open_qa/adapter_config.json'), 'utf8')) as Row;
    expect(config).toMatchObject({
      task_type: 'CAUSAL_LM',
      modules_to_save: null,
      target_modules: ['q_proj', 'v_proj'],
    });
  });

  it('is evaluated as it was, with the loss and tokens of every row', async () => {
    const trained = await trainRun(languageConfig(folder), languageRun().context);
    const predictions = path.join(root, 'predictions.jsonl');
    const outcome = await evaluateRun({ folder, predictions, tasks: ['open_qa'] }, languageRun().context);
    expect(outcome).toMatchObject({ metric: 'loss', round: 2 });
    expect(outcome.tasks).toEqual([
      { ...outcome.tasks[0], task: 'open_qa', metric: trained.tasks[1]!.metric, tokens: TOKENS, majorityFloor: null },
    ]);
    const rows = await readJsonl(predictions);
    expect(rows.map((row) => Object.keys(row))).toEqual(rows.map(() => ['task', 'row', 'loss', 'tokens', 'cluster']));
    expect(rows.map((row) => [row['task'], row['row'], row['tokens']])).toEqual(
      Array.from({ length: 8 }, (_, row) => ['open_qa', row, 1 + (row % 3)]),
    );
    const mean = rows.reduce((sum, row) => sum + (row['loss'] as number) * (row['tokens'] as number), 0) / TOKENS;
    expect(mean).toBeCloseTo(outcome.tasks[0]!.loss, 9);
  });
});
