import { describe, expect, it } from 'vitest';
import { gradient } from '../../src/engine/index.js';
import type { AdapterSpec, Examples } from '../../src/engine/index.js';
import { Generator } from '../../src/numpy/index.js';
import {
  ALL_MODULES,
  changedModel,
  classExamples,
  imageExamples,
  languageExamples,
  openBank,
  type Changes,
} from '../support/models.js';

interface Case {
  family: string;
  changes: Changes;
  spec: Partial<AdapterSpec>;
  examples: Examples;
  /** of the difference; small where a ReLU has kinks */
  step?: number;
}

// Every kind of block, with all of its dropouts on: masks of forward and backward must be the same ones.
const cases: Case[] = [
  {
    family: 'roberta',
    changes: { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2, classifier_dropout: 0.3 },
    spec: { targetModules: ALL_MODULES.bert, trainHead: true },
    examples: classExamples(1, [3, 17, 1, 8]),
  },
  {
    family: 'distilbert',
    changes: { dropout: 0.1, attention_dropout: 0.2, seq_classif_dropout: 0.3 },
    spec: { targetModules: ALL_MODULES.distilbert, trainHead: true },
    examples: classExamples(1, [3, 17, 1, 8]),
    step: 1e-4,
  },
  {
    family: 'vit',
    changes: { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2 },
    spec: { targetModules: ALL_MODULES.vit, trainHead: true },
    examples: imageExamples(1, 3),
  },
  {
    family: 'llama3',
    changes: { attention_dropout: 0.2, max_position_embeddings: 128 },
    spec: { targetModules: ALL_MODULES.llama },
    // longer than a block of causal attention, and a sequence of which no token counts
    examples: languageExamples(1, [4, 100, 1, 23]),
  },
  {
    family: 'mistral',
    changes: { attention_dropout: 0.2, max_position_embeddings: 256 },
    spec: { targetModules: ['layers.0.self_attn.k_proj', 'layers.1.self_attn.q_proj', 'layers.1.mlp.up_proj'] },
    examples: languageExamples(1, [4, 150, 2, 23]),
  },
  {
    family: 'roberta',
    changes: { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2, classifier_dropout: 0.3 },
    spec: { tuning: 'full' },
    examples: classExamples(1, [3, 17, 1, 8]),
  },
  {
    family: 'distilbert',
    changes: { dropout: 0.1, attention_dropout: 0.2, seq_classif_dropout: 0.3 },
    spec: { tuning: 'full' },
    examples: classExamples(1, [3, 17, 1, 8]),
    step: 1e-4,
  },
  {
    family: 'vit',
    changes: { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2 },
    spec: { tuning: 'full' },
    examples: imageExamples(1, 3),
  },
  {
    family: 'llama3',
    changes: { attention_dropout: 0.2, max_position_embeddings: 128 },
    spec: { tuning: 'full' },
    examples: languageExamples(1, [4, 100, 1, 23]),
  },
];

describe('the gradient under fixed dropout masks equals finite differences', () => {
  it.each(cases)('$family, $spec.tuning', async ({ family, changes, spec, examples, step: h = 5e-4 }) => {
    const { bank, dispose } = await openBank(await changedModel(family, changes), 1, spec);
    const count = 'sizes' in examples ? examples.labels.length : examples.offsets.length - 1;
    const job = { row: 0, examples, batches: Int32Array.of(0, count), stream: 7n };
    const exact = await gradient(bank, job, { dropout: true });
    const without = await gradient(bank, job, { dropout: false });
    expect(without.loss).not.toBe(exact.loss);
    const start = bank.get(0);
    const random = new Generator(9);
    for (const { offset, shape, name } of bank.layout.tensors) {
      const size = shape.reduce((a, b) => a * b, 1);
      const direction = Float32Array.from({ length: size }, () => (random.random() < 0.5 ? -1 : 1));
      let expected = 0;
      for (let i = 0; i < size; i++) expected += direction[i]! * exact.gradient[offset + i]!;
      const slopeAt = async (step: number) => {
        const losses: number[] = [];
        for (const sign of [1, -1]) {
          const moved = start.slice();
          for (let i = 0; i < size; i++) moved[offset + i]! += sign * step * direction[i]!;
          bank.set(0, moved);
          losses.push((await gradient(bank, job, { dropout: true })).loss);
        }
        return (losses[0]! - losses[1]!) / (2 * step);
      };
      // Richardson's extrapolation; the loss is known to about 1e-6, the slopes to about 2e-3.
      const slope = (4 * (await slopeAt(h)) - (await slopeAt(2 * h))) / 3;
      expect(Math.abs(slope - expected), name).toBeLessThan(3e-3 + 0.005 * Math.abs(expected));
    }
    dispose();
  });
});
