import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, gradient, train } from '../../src/engine/index.js';
import type { PackedSequences } from '../../src/engine/index.js';
import { difference, largest } from './compare.js';
import { readReference, values, type Tensor } from './safetensors.js';

interface Reference {
  recommended_tolerance: Record<string, number>;
  optimizer: { lr: number };
}

/** A padded reference batch without its padding. */
function packed(tensors: Map<string, Tensor>, batch: number): PackedSequences {
  const [rows, width] = tensors.get(`batch.${batch}.input_ids`)!.shape as [number, number];
  const ids = values(tensors, `batch.${batch}.input_ids`);
  const types = values(tensors, `batch.${batch}.token_type_ids`);
  const mask = values(tensors, `batch.${batch}.attention_mask`);
  const keptIds: number[] = [];
  const keptTypes: number[] = [];
  const offsets = [0];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) {
      if (mask[r * width + c] === 0) continue;
      keptIds.push(ids[r * width + c]!);
      keptTypes.push(types[r * width + c]!);
    }
    offsets.push(keptIds.length);
  }
  return {
    ids: Int32Array.from(keptIds),
    offsets: Int32Array.from(offsets),
    typeIds: Uint8Array.from(keptTypes),
    labels: Int32Array.from(values(tensors, `batch.${batch}.labels`)),
  };
}

/** Sequences of several batches end to end, and where each batch begins. */
function concatenated(parts: readonly PackedSequences[]): { examples: PackedSequences; batches: Int32Array } {
  const offsets = [0];
  const batches = [0];
  for (const part of parts) {
    const base = offsets.at(-1)!;
    for (let i = 1; i < part.offsets.length; i++) offsets.push(base + part.offsets[i]!);
    batches.push(offsets.length - 1);
  }
  return {
    examples: {
      ids: Int32Array.from(parts.flatMap((part) => [...part.ids])),
      offsets: Int32Array.from(offsets),
      typeIds: Uint8Array.from(parts.flatMap((part) => [...part.typeIds!])),
      labels: Int32Array.from(parts.flatMap((part) => [...part.labels])),
    },
    batches: Int32Array.from(batches),
  };
}

/**
 * The tests that a LoRA reference file (transformers + PEFT + torch.optim.AdamW, every dropout off) defines: whole
 * tensors, within the file's own tolerances (ten times the spread between eager, sdpa and float64 runs there).
 */
export function loraReferenceTests(modelFolder: string, reference: string, rank: number): void {
  const tensors = readReference(`${reference}.safetensors`);
  const { recommended_tolerance: tolerance, optimizer } = JSON.parse(
    readFileSync(`${reference}.json`, 'utf8'),
  ) as Reference;
  const batches = [0, 1, 2, 3].map((batch) => packed(tensors, batch));

  async function withBank(body: (bank: AdapterBank) => Promise<void>): Promise<void> {
    const backbone = await Backbone.load(modelFolder);
    const spec = {
      rank,
      loraAlpha: 16,
      loraDropout: 0,
      targetModules: ['query', 'value'],
      numLabels: 2,
      trainHead: true,
    };
    const bank = new AdapterBank(backbone, spec, 2);
    const start = new Float32Array(bank.layout.size);
    for (const { name, offset } of bank.layout.tensors) start.set(values(tensors, `init.${name}`), offset);
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
    for (const { name, shape, offset } of bank.layout.tensors) {
      const size = shape.reduce((a, b) => a * b, 1);
      expect(tensors.get(`${prefix}.${name}`)!.shape).toEqual([...shape]);
      check(flat.subarray(offset, offset + size), values(tensors, `${prefix}.${name}`));
    }
  }

  it('lays out the tensors that PEFT trains, in name order', async () => {
    await withBank(async (bank) => {
      const names = [...tensors.keys()].filter((name) => name.startsWith('init.')).map((name) => name.slice(5));
      expect(bank.layout.tensors.map(({ name }) => name)).toEqual(names.sort());
      await Promise.resolve();
    });
  });

  it('gives every logit of the initial adapter', async () => {
    await withBank(async (bank) => {
      const results = await evaluate(
        bank,
        batches.map((sequences) => ({ row: 1, examples: sequences })),
        { batchSize: 5 },
      );
      for (const [batch, { logits }] of results.entries()) {
        expect(difference(logits, values(tensors, `logits.${batch}`)).max).toBeLessThan(tolerance['logits']!);
      }
    });
  });

  it('gives the loss and every gradient', async () => {
    await withBank(async (bank) => {
      const job = { row: 1, ...concatenated([batches[0]!]), stream: 0n };
      const result = await gradient(bank, job, { dropout: false });
      expect(Math.abs(result.loss - values(tensors, 'losses')[0]!)).toBeLessThan(tolerance['losses']!);
      eachTensor(bank, result.gradient, 'grad', (found, expected) => {
        const gap = difference(found, expected).max;
        expect(gap).toBeLessThan(tolerance['grad']!);
        expect(gap / largest(expected)).toBeLessThan(tolerance['grad_rel']!);
      });
    });
  });

  it.each([1, 5, 20])('gives the adapter after %i AdamW steps', async (steps) => {
    await withBank(async (bank) => {
      const parts = Array.from({ length: steps }, (_, step) => batches[step % 4]!);
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
