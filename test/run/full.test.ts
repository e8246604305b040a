import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, readSafetensors } from '../../src/engine/index.js';
import type { VerifyOutcome } from '../../src/run/verify/index.js';
import { run } from '../cli/support.js';
import { SPEC, classExamples } from '../support/models.js';

const TASKS = ['sentiment', 'topic', 'answer', 'contradiction'];
const SETTINGS = ['max_eval_batches=1', 'threads=1', 'full_lr=2e-4', 'report=false'];
const SIZES = [
  '--n-clients',
  '2',
  '--rounds',
  '2',
  '--local-steps',
  '2',
  '--batch-size',
  '4',
  '--override',
  ...SETTINGS,
];

let folder: string;
const at = (...names: string[]) => join(folder, 'run', ...names);

async function train(name: string, ...more: string[]): Promise<void> {
  const { code, stderr } = await run(
    'train',
    '--method',
    'full',
    ...SIZES,
    ...more,
    '--output-dir',
    join(folder, name),
  );
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fltac-full-'));
  await train('run');
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('a run of full fine-tuning', () => {
  it('keeps the last round, and a model of each task that transformers would load', () => {
    const names = readdirSync(at());
    expect(names.filter((name) => /^adapters_round_/.test(name))).toEqual(['adapters_round_2.pt']);
    expect(readdirSync(at('final')).sort()).toEqual([...TASKS].sort());
    expect(readdirSync(at('final', 'topic')).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const config = JSON.parse(readFileSync(at('final', 'topic', 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({
      architectures: ['BertForSequenceClassification'],
      torch_dtype: 'float32',
      id2label: { 0: 'LABEL_0', 1: 'LABEL_1' },
    });
  });

  it('trains all weights of every task, as many steps as the clients take together, and sends nothing', () => {
    const rows = readFileSync(at('metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const local = rows.filter(({ phase }) => phase === 'local');
    expect(local.map(({ round, task }) => `${String(round)} ${String(task)}`).sort()).toEqual(
      [1, 2].flatMap((round) => TASKS.map((task) => `${round} ${task}`)).sort(),
    );
    for (const { steps } of local) expect([2, 4]).toContain(steps);
    expect(rows.some(({ phase }) => phase === 'communication')).toBe(false);
  });

  it('passes every check, and evaluates to the same digits', async () => {
    const { code, stdout } = await run('verify', at(), '--format', 'json', '--evaluate');
    const { findings } = JSON.parse(stdout) as VerifyOutcome;
    expect(findings.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(code).toBe(0);
    expect(findings.map(({ detail }) => detail)).toContain("4 whole models' folders hold the last round's adapters");
  });

  it('loads its models as backbones that give their logits', async () => {
    const examples = classExamples(4, [5, 12, 3], 60, 2);
    const logits: Float32Array[] = [];
    for (const tuning of ['lora', 'full'] as const) {
      const backbone = await Backbone.load(at('final', 'topic'), { dtype: 'float32' });
      const spec = { ...SPEC, targetModules: ['query'], numLabels: 2, trainHead: true, tuning };
      const bank = new AdapterBank(backbone, spec, 1);
      bank.initialise(0, 9n);
      logits.push((await evaluate(bank, [{ row: 0, examples }]))[0]!.logits);
      bank.dispose();
      backbone.dispose();
    }
    expect(logits[0]!.length).toBe(6);
    logits[0]!.forEach((value, i) => expect(value).toBeCloseTo(logits[1]![i]!, 5));
  });

  it('exports whole models, whichever form is asked for', async () => {
    const { code, stdout, stderr } = await run('export', at(), '--tasks', 'answer');
    expect(code).toBe(0);
    expect(stderr).toContain('whole models, which are no adapters for PEFT');
    expect(stdout).toContain(join('exported', 'merged', 'answer'));
    const exported = at('exported', 'merged', 'answer');
    expect(await readSafetensors(join(exported, 'model.safetensors'))).toEqual(
      await readSafetensors(at('final', 'answer', 'model.safetensors')),
    );
    const card = readFileSync(join(exported, 'README.md'), 'utf8');
    expect(card).toContain('every weight of it trained');
    expect(card).toContain('learning rate 0.0002');
    expect(card).not.toMatch(/rank \d/);
  });

  it('goes on after its first round to the same bits', async () => {
    await train('resumed', '--rounds', '1');
    await train('resumed', '--resume');
    const models = await Promise.all(
      ['run', 'resumed'].map((name) => readSafetensors(join(folder, name, 'final', 'topic', 'model.safetensors'))),
    );
    expect(models[1]).toEqual(models[0]);
  }, 60_000);
});

describe('settings that full fine-tuning cannot have', () => {
  it('are refused, or told to have no effect', async () => {
    const refused = await run(
      ...['train', '--method', 'full', '--output-dir', join(folder, 'none')],
      ...['--override', 'baseline_method=local', 'initial_adapter=a.safetensors'],
    );
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('fltac compare --methods full,local runs both');
    expect(refused.stderr).toContain('which starts from the backbone itself');
  });
});
