import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  AdapterBank,
  Backbone,
  evaluate,
  generate,
  mergeModel,
  readSafetensors,
  train,
  type AdapterSpec,
} from '../../src/engine/index.js';
import { familyFixture, temporaryFolder } from '../support/files.js';
import { classExamples, languageExamples, SPEC } from '../support/models.js';
import { describeWithShared, sharedPath } from '../support/shared.js';
import { FULL_SPEC, trainingReferenceTests } from '../support/training-reference.js';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));
const script = fileURLToPath(new URL('../../scripts/fixtures/make_full.py', import.meta.url));

const MODELS = [
  'small-bert',
  ...['roberta', 'distilbert', 'vit', 'llama3', 'mistral', 'qwen2'].map((f) => `families/${f}`),
];

describe.each(MODELS)('full fine-tuning of %s equals transformers', (name) => {
  const folder = `${fixtures}${name}`;
  trainingReferenceTests(folder, `${folder}/full`, FULL_SPEC);
  describe("with other devices' kernels", () => {
    trainingReferenceTests(folder, `${folder}/full`, FULL_SPEC, { device: 'portable' });
  });
});

const haveTransformers = spawnSync('python3', ['-c', 'import torch, transformers, peft, safetensors']).status === 0;

describeWithShared('full fine-tuning equals transformers as it is installed on', () => {
  if (!haveTransformers) {
    it.skip('the tiny models (needs python3 with torch, transformers, peft and safetensors)', () => undefined);
    return;
  }
  for (const name of ['tiny-bert', 'tiny-vit', 'tiny-llama', 'tiny-llama-gqa']) {
    describe(name, () => {
      const model = sharedPath(`hub/models/fltac-test/${name}`);
      const out = mkdtempSync(join(tmpdir(), 'fltac-full-'));
      afterAll(() => rmSync(out, { recursive: true }));
      execFileSync('python3', [script, '--model', model, '--out', out], { stdio: 'pipe' });
      trainingReferenceTests(model, `${out}/full`, FULL_SPEC);
    });
  }
});

async function withBank(
  folder: string,
  spec: Partial<AdapterSpec>,
  body: (bank: AdapterBank, backbone: Backbone) => Promise<void>,
  options: Parameters<typeof Backbone.load>[1] = {},
): Promise<void> {
  const backbone = await Backbone.load(folder, options);
  const bank = new AdapterBank(backbone, { ...SPEC, ...FULL_SPEC, ...spec }, 3);
  try {
    await body(bank, backbone);
  } finally {
    bank.dispose();
    backbone.dispose();
  }
}

describe('a whole model in a bank', () => {
  it('starts with the weights of the files, whatever names they have there', async () => {
    // transformers 5's names of modules, and no prefix
    await withBank(familyFixture('deit'), {}, async (bank) => {
      bank.initialise(0, 1n);
      const flat = bank.get(0);
      const files = await readSafetensors(`${familyFixture('deit')}/model.safetensors`);
      const sums = [...files.values()].map(({ data }) => sum(data)).sort((a, b) => a - b);
      const found = bank.layout.tensors
        .filter(({ name }) => !name.startsWith('classifier.'))
        .map(({ offset, shape }) => sum(flat.subarray(offset, offset + shape.reduce((a, b) => a * b, 1))))
        .sort((a, b) => a - b);
      expect(found.filter((value) => !sums.includes(value))).toEqual([]);
      expect(found.length).toBeGreaterThan(30);
    });
  });

  it('evaluates as the frozen backbone with an adapter that adds nothing and the same head', async () => {
    const folder = familyFixture('roberta');
    const examples = classExamples(3, [4, 9, 2]);
    const logits: Float32Array[] = [];
    for (const tuning of ['full', 'lora'] as const) {
      const spec = { tuning, targetModules: ['query'], trainHead: true };
      await withBank(folder, spec, async (bank) => {
        bank.initialise(1, 7n);
        const [result] = await evaluate(bank, [{ row: 1, examples }]);
        logits.push(result!.logits);
      });
    }
    const [whole, lora] = logits as [Float32Array, Float32Array];
    expect(whole.length).toBe(9);
    whole.forEach((value, i) => expect(value).toBeCloseTo(lora[i]!, 5));
  });

  it('trains each of several models alone, and the same bits every time', async () => {
    await withBank(familyFixture('roberta'), {}, async (bank) => {
      for (let row = 0; row < 3; row += 1) bank.initialise(row, 7n);
      const job = (row: number, seed: number) => ({
        row,
        examples: classExamples(seed, [4, 9, 2, 5]),
        batches: Int32Array.of(0, 2, 4),
        stream: BigInt(seed),
      });
      const options = { lr: 1e-3, cohort: 8 };
      const [first, second] = await train(bank, [job(0, 1), job(1, 2)], options);
      const [again] = await train(bank, [job(2, 1)], options);
      expect(again!.losses).toEqual(first!.losses);
      expect(second!.losses).not.toEqual(first!.losses);
      expect(bank.get(2)).toEqual(bank.get(0));
      expect(bank.get(1)).not.toEqual(bank.get(0));
    });
  });

  it('keeps what it has learned when it is stopped', async () => {
    await withBank(familyFixture('roberta'), {}, async (bank) => {
      bank.initialise(0, 7n);
      bank.initialise(1, 7n);
      const steps = 2000;
      const examples = classExamples(1, new Array<number>(steps).fill(4));
      const batches = Int32Array.from({ length: steps + 1 }, (_, i) => i);
      const stop = new AbortController();
      const stopped = train(bank, [{ row: 0, examples, batches, stream: 1n }], {
        ...{ lr: 1e-3, cohort: 1, signal: stop.signal },
        onProgress: () => stop.abort(),
      });
      await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
      expect(bank.get(0)).not.toEqual(bank.get(1));
    });
  });

  it('is refused where it cannot be', async () => {
    const llama = familyFixture('llama3');
    await withBank(llama, {}, async (bank) => {
      bank.initialise(0, 1n);
      const prompts = { ids: Int32Array.of(3, 4), offsets: Int32Array.of(0, 2) };
      await expect(generate(bank, [{ row: 0, prompts }], { maxNewTokens: 1, eosIds: [2] })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
      });
      await expect(mergeModel(llama, bank, 0, `${temporaryFolder()}/m.safetensors`)).rejects.toMatchObject({
        code: 'USAGE',
      });
    });
    const parted = { deviceMap: { embedding: 'cpu', 'layers.0-1': 'portable', output: 'cpu' } };
    await withBank(
      llama,
      {},
      async (bank) => {
        bank.initialise(0, 1n);
        const job = { row: 0, examples: languageExamples(1, [6]), batches: Int32Array.of(0, 1), stream: 1n };
        await expect(train(bank, [job], { lr: 1e-3, cohort: 1 })).rejects.toThrow(/whole model on one device/);
      },
      parted,
    );
    await expect(withBank(llama, { tuning: 'half' as 'full' }, () => Promise.resolve())).rejects.toThrow(
      'tuning must be lora or full, found half',
    );
  });
});

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
