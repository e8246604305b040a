import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, gradient, train } from '../../src/engine/index.js';
import type { AdapterSpec, PackedSequences, LoadOptions } from '../../src/engine/index.js';
import { difference, largest } from './compare.js';
import { concatenated, everyTokenLabelled, referenceBatch } from './reference-batches.js';
import { readReference, values } from './safetensors.js';

interface Reference {
  recommended_tolerance: Record<string, number>;
  optimizer: { lr: number };
  /** where every batch was evaluated before training */
  initial_loss_of_batch?: number[];
}

/** What of an adapter a reference file's run had. */
export type ReferenceSpec = Pick<AdapterSpec, 'rank' | 'targetModules' | 'numLabels' | 'trainHead' | 'tuning'>;

/** Full fine-tuning with the labels of scripts/fixtures/make_full.py. */
export const FULL_SPEC: ReferenceSpec = {
  tuning: 'full',
  rank: 1,
  targetModules: [],
  numLabels: 3,
  trainHead: true,
};

/** Left out of reference files: their gradient is zero but for rounding, which AdamW blows up to whole steps. */
const INERT = /\.(key|k_lin)\.bias$/;

/** BERT's of the golden files. */
export function bertSpec(rank: number): ReferenceSpec {
  return { rank, targetModules: ['query', 'value'], numLabels: 2, trainHead: true };
}

/**
 * The tests that a reference file of LoRA or full fine-tuning (transformers + PEFT + torch.optim.AdamW, every dropout off) defines: whole
 * tensors, within the file's own tolerances (ten times the spread between eager, sdpa and float64 runs there).
 */
export function trainingReferenceTests(
  modelFolder: string,
  reference: string,
  spec: ReferenceSpec,
  load: LoadOptions = {},
): void {
  const tensors = readReference(`${reference}.safetensors`);
  const header = JSON.parse(readFileSync(`${reference}.json`, 'utf8')) as Reference;
  const { recommended_tolerance: tolerance, optimizer } = header;
  const count = [...tensors.keys()].filter((name) => /^batch\.\d+\.labels$/.test(name)).length;
  const batches = Array.from({ length: count }, (_, batch) => referenceBatch(tensors, batch));
  const causal = tensors.get('batch.0.labels')!.shape.length === 2;

  async function withBank(body: (bank: AdapterBank) => Promise<void>): Promise<void> {
    // The golden runs are float32 whatever the files are.
    const backbone = await Backbone.load(modelFolder, { dtype: 'float32', ...load });
    const bank = new AdapterBank(backbone, { ...spec, loraAlpha: 16, loraDropout: 0 }, 2);
    // A whole model starts from its files; a reference of one holds its head alone.
    bank.initialise(1, 0n);
    const start = bank.get(1);
    for (const { name, offset } of bank.layout.tensors) {
      if (tensors.has(`init.${name}`)) start.set(values(tensors, `init.${name}`), offset);
      else expect(spec.tuning).toBe('full');
    }
    bank.set(1, start);
    try {
      await body(bank);
    } finally {
      bank.dispose();
      backbone.dispose();
    }
  }

  function eachTensor(
    bank: AdapterBank,
    flat: Float32Array,
    prefix: string,
    check: (found: Float32Array, expected: Float64Array) => void,
  ): void {
    for (const { name, shape, offset } of trainedTensors(bank)) {
      const size = shape.reduce((a, b) => a * b, 1);
      expect(tensors.get(`${prefix}.${name}`)!.shape).toEqual([...shape]);
      check(flat.subarray(offset, offset + size), values(tensors, `${prefix}.${name}`));
    }
  }

  function trainedTensors({ layout }: AdapterBank): AdapterBank['layout']['tensors'] {
    return layout.tensors.filter(({ name }) => !INERT.test(name));
  }

  /** Logits of a batch; of a causal model at its tokens, padding left out. */
  function expectedLogits(batch: number): Float64Array {
    const all = values(tensors, `logits.${batch}`);
    if (!causal) return all;
    const mask = values(tensors, `batch.${batch}.attention_mask`);
    const vocab = all.length / mask.length;
    return all.filter((_, i) => mask[Math.floor(i / vocab)] !== 0);
  }

  it('lays out the tensors that are trained there, in name order', async () => {
    await withBank(async (bank) => {
      const names = [...tensors.keys()].filter((name) => name.startsWith('grad.')).map((name) => name.slice(5));
      expect(trainedTensors(bank).map(({ name }) => name)).toEqual(names.sort());
      await Promise.resolve();
    });
  });

  it('gives every logit of the initial adapter', async () => {
    await withBank(async (bank) => {
      const given = [...batches.keys()].filter((batch) => tensors.has(`logits.${batch}`));
      expect(given.length).toBeGreaterThan(0);
      const jobs = given.map((batch) => ({
        row: 1,
        examples: causal ? everyTokenLabelled(batches[batch]! as PackedSequences) : batches[batch]!,
      }));
      const results = await evaluate(bank, jobs, { batchSize: 5, targetLogits: true });
      for (const [i, { logits }] of results.entries()) {
        expect(difference(logits, expectedLogits(given[i]!)).max).toBeLessThan(tolerance['logits']!);
      }
    });
  });

  const initialLosses = header.initial_loss_of_batch;
  if (initialLosses !== undefined) {
    it('gives the loss of every batch, and of its examples', async () => {
      await withBank(async (bank) => {
        const results = await evaluate(
          bank,
          batches.map((examples) => ({ row: 1, examples })),
          { batchSize: 3 },
        );
        const sum = (array: ArrayLike<number>) => Array.from(array).reduce((a, b) => a + b, 0);
        const losses = results.map(({ loss }) => loss);
        expect(difference(losses, initialLosses).max).toBeLessThan(tolerance['loss']!);
        for (const { loss, exampleLosses, exampleTargets } of results) {
          expect(sum(exampleLosses) / sum(exampleTargets)).toBeCloseTo(loss, 12);
        }
      });
    });
  }

  it('gives the loss and every gradient', async () => {
    await withBank(async (bank) => {
      const job = { row: 1, ...concatenated([batches[0]!]), stream: 0n };
      const result = await gradient(bank, job, { dropout: false });
      expect(Math.abs(result.loss - values(tensors, 'losses')[0]!)).toBeLessThan(tolerance['losses']!);
      for (const { name, shape, offset } of bank.layout.tensors.filter((tensor) => INERT.test(tensor.name))) {
        expect(shape.length, name).toBe(1);
        expect(largest(result.gradient.subarray(offset, offset + shape[0]!)), name).toBeLessThan(tolerance['grad']!);
      }
      eachTensor(bank, result.gradient, 'grad', (found, expected) => {
        const gap = difference(found, expected).max;
        expect(gap).toBeLessThan(tolerance['grad']!);
        expect(gap / largest(expected)).toBeLessThan(tolerance['grad_rel']!);
      });
    });
  });

  const kept = [1, 3, 5, 20].filter((steps) => [...tensors.keys()].some((name) => name.startsWith(`step${steps}.`)));
  it.each(kept)('gives the adapter after %i AdamW steps', async (steps) => {
    await withBank(async (bank) => {
      const parts = Array.from({ length: steps }, (_, step) => batches[step % count]!);
      const job = { row: 1, ...concatenated(parts), stream: 0n };
      const [result] = await train(bank, [job], { lr: optimizer.lr, dropout: false, cohort: 1 });
      const losses = values(tensors, 'losses').slice(0, steps);
      expect(difference(result!.losses, losses).max).toBeLessThan(tolerance['losses']!);
      eachTensor(bank, bank.get(1), `step${steps}`, (found, expected) => {
        const gap = difference(found, expected);
        expect(gap.max).toBeLessThan(tolerance[`step${steps}`]!);
        expect(gap.mean).toBeLessThan(tolerance[`step${steps}_mean`]!);
      });
    });
  });
}
