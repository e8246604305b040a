import { describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, gradient, train } from '../../src/engine/index.js';
import type { PackedSequences, TrainJob } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { familyFixture } from '../support/files.js';
import { changedModel, classExamples, imageExamples, languageExamples, openBank, SPEC } from '../support/models.js';
import { concatenated, offsetsOf } from '../support/reference-batches.js';

const folder = familyFixture('llama3');
/** With dropout in the attention too. */
const withDropout = () => changedModel('llama3', { attention_dropout: 0.1 });

function job(row: number, seed: number, steps: number, lengths: readonly number[]): TrainJob<PackedSequences> {
  const parts = Array.from({ length: steps }, (_, step) => languageExamples(100 * seed + step, lengths));
  return { row, ...concatenated(parts), stream: BigInt(1000 + seed) };
}

/** One example of several. */
function only(all: PackedSequences, index: number): PackedSequences {
  const [from, to] = [all.offsets[index]!, all.offsets[index + 1]!];
  return { ids: all.ids.slice(from, to), offsets: Int32Array.of(0, to - from), labels: all.labels.slice(from, to) };
}

describe('a cohort of language-model jobs', () => {
  it('trains each adapter as if alone: other lengths, steps, batch sizes and masks beside it', async () => {
    const model = await withDropout();
    const jobs = [
      job(0, 1, 6, [3, 17, 1, 8]),
      job(1, 2, 3, [50, 2]),
      job(2, 3, 5, [1, 2, 9, 4, 30]),
      job(3, 4, 1, [7]),
    ];
    const banks = [await openBank(model, 4), await openBank(model, 4)];
    const [together, alone] = banks.map(({ bank }) => bank) as [AdapterBank, AdapterBank];
    const a = await train(together, jobs, { lr: 5e-3, cohort: 4 });
    const b = await train(alone, jobs, { lr: 5e-3, cohort: 1 });
    for (const [j, { losses }] of a.entries()) {
      expect(losses.length).toBe(jobs[j]!.batches.length - 1);
      expect(difference(losses, b[j]!.losses).max).toBeLessThan(2e-5);
      // Products of other sizes are summed in another order; AdamW's first steps turn that into at most lr x 1e-2.
      expect(difference(together.get(j), alone.get(j)).mean).toBeLessThan(2e-6);
      expect(difference(together.get(j), alone.get(j)).max).toBeLessThan(1e-4);
    }
    banks.forEach(({ dispose }) => dispose());
  });

  it('gives the same bytes for the same seed, other ones for another stream', async () => {
    const model = await withDropout();
    const states = [];
    for (const stream of [5n, 5n, 6n]) {
      const { bank, dispose } = await openBank(model, 1);
      await train(bank, [{ ...job(0, 1, 3, [12, 5]), stream }], { lr: 5e-3, cohort: 1 });
      states.push(bank.get(0));
      dispose();
    }
    expect(states[0]).toEqual(states[1]);
    expect(states[0]).not.toEqual(states[2]);
  });
});

describe('the loss of a language model', () => {
  it("is the mean over a batch's labelled tokens; the first of a sequence is never one", async () => {
    const { bank, dispose } = await openBank(folder, 1);
    const examples = languageExamples(3, [9, 1, 14]);
    examples.labels.fill(-100, 0, 8);
    examples.labels[9] = 7;
    const [all] = await evaluate(bank, [{ row: 0, examples }]);
    expect([...all!.exampleTargets]).toEqual([1, 0, 10]);
    expect(all!.exampleLosses[1]).toBe(0);
    expect(all!.logits).toHaveLength(0);
    const total = all!.exampleLosses.reduce((a, b) => a + b, 0);
    expect(all!.loss).toBeCloseTo(total / 11, 12);
    const one = await gradient(
      bank,
      { row: 0, examples, batches: Int32Array.of(0, 3), stream: 0n },
      { dropout: false },
    );
    expect(one.loss).toBeCloseTo(all!.loss, 5);
    dispose();
  });

  it('of an example does not depend on what else is in the batch, nor on its size', async () => {
    const { bank, dispose } = await openBank(folder, 1);
    const examples = languageExamples(3, [9, 2, 14, 40, 6]);
    const [together] = await evaluate(bank, [{ row: 0, examples }]);
    const [pairs] = await evaluate(bank, [{ row: 0, examples }], { batchSize: 2 });
    expect(difference(pairs!.exampleLosses, together!.exampleLosses).max).toBeLessThan(2e-5);
    for (const i of [0, 3]) {
      const [alone] = await evaluate(bank, [{ row: 0, examples: only(examples, i) }]);
      expect(Math.abs(alone!.loss * alone!.exampleTargets[0]! - together!.exampleLosses[i]!)).toBeLessThan(2e-5);
    }
    dispose();
  });

  it('takes examples without a labelled token along where others have some', async () => {
    const { bank, dispose } = await openBank(folder, 1);
    const examples = languageExamples(3, [9, 14]);
    examples.labels.fill(-100, 0, 9);
    const [result] = await evaluate(bank, [{ row: 0, examples }], { batchSize: 1 });
    const [alone] = await evaluate(bank, [{ row: 0, examples: only(examples, 1) }]);
    expect(result!.loss).toBe(alone!.loss);
    dispose();
  });

  it('is the same over a vocabulary of many blocks of rows', async () => {
    // 2^24 logits are held at a time: 41 rows of this vocabulary.
    const vocab = 400_000;
    const words = new Float32Array(vocab * 16);
    for (let i = 0; i < words.length; i++) words[i] = Math.sin(i * 0.7) * 0.5;
    const large = await changedModel('qwen2', { vocab_size: vocab }, (tensors) => {
      tensors.set('model.embed_tokens.weight', { shape: [vocab, 16], data: words });
    });
    const { bank, dispose } = await openBank(large, 1);
    const examples = languageExamples(3, [40, 30, 33], vocab);
    const [together] = await evaluate(bank, [{ row: 0, examples }]);
    const count = together!.exampleTargets.reduce((a, b) => a + b, 0);
    expect(count).toBeGreaterThan(45);
    const step = (part: PackedSequences) =>
      gradient(
        bank,
        { row: 0, examples: part, batches: Int32Array.of(0, part.offsets.length - 1), stream: 0n },
        { dropout: false },
      );
    const whole = await step(examples);
    const sum = new Float64Array(bank.layout.size);
    for (const i of [0, 1, 2]) {
      const part = await step(only(examples, i));
      expect(Math.abs(part.loss * together!.exampleTargets[i]! - together!.exampleLosses[i]!)).toBeLessThan(1e-3);
      part.gradient.forEach((x, j) => (sum[j]! += (x * together!.exampleTargets[i]!) / count));
    }
    expect(difference(whole.gradient, sum).max).toBeLessThan(1e-5);
    expect(Math.max(...whole.gradient.map(Math.abs))).toBeGreaterThan(1e-3);
    dispose();
  });
});

describe('examples that a language model cannot take', () => {
  const good = job(0, 1, 1, [5, 9]);
  const labels = (value: number) => good.examples.labels.map(() => value);
  const cases: [string, string, RegExp, TrainJob][] = [
    [
      'a batch without a labelled token',
      'SHAPE',
      /training job 0, batch 1: none of its 1 sequences has a token to predict/,
      {
        ...good,
        batches: Int32Array.of(0, 1, 2),
        examples: { ...good.examples, labels: good.examples.labels.map((label, i) => (i < 5 ? label : -100)) },
      },
    ],
    [
      'labels of first tokens only, which nothing predicts',
      'SHAPE',
      /a first token's/,
      { ...good, examples: { ...good.examples, labels: labels(-100).fill(1, 0, 1).fill(1, 5, 6) } },
    ],
    [
      'a label outside the vocabulary',
      'SHAPE',
      /token 0 has label 48, expected 0 to 47 or -100/,
      { ...good, examples: { ...good.examples, labels: labels(48) } },
    ],
    ['a negative label but -100', 'SHAPE', /label -1/, { ...good, examples: { ...good.examples, labels: labels(-1) } }],
    ['a label a sequence', 'SHAPE', /2 labels for 14 tokens/, { ...good, examples: classExamples(1, [5, 9]) }],
    ['images', 'USAGE', /llama reads token sequences, found images/, { ...good, examples: imageExamples(1, 2) }],
    ['a sequence longer than the positions', 'SHAPE', /65 tokens, the backbone has 64 positions/, job(0, 1, 1, [65])],
  ];
  it.each(cases)('%s: %s', async (_, code, message, bad) => {
    const { bank, dispose } = await openBank(folder, 1);
    const before = bank.get(0);
    await expect(train(bank, [bad], { lr: 1e-3, cohort: 1 })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
    expect(bank.get(0)).toEqual(before);
    dispose();
  });

  it('are refused by evaluate too, but no examples at all are fine', async () => {
    const { bank, dispose } = await openBank(folder, 1);
    const examples = languageExamples(1, [4]);
    examples.labels.fill(-100);
    await expect(evaluate(bank, [{ row: 0, examples }])).rejects.toMatchObject({ code: 'SHAPE' });
    const none = { ids: new Int32Array(0), offsets: offsetsOf([]), labels: new Int32Array(0) };
    expect(await evaluate(bank, [{ row: 0, examples: none }])).toMatchObject([{ loss: 0 }]);
    dispose();
  });
});

describe('a language model', () => {
  it('learns: the loss on a fixed batch falls', async () => {
    const backbone = await Backbone.load(folder);
    const bank = new AdapterBank(backbone, { ...SPEC, rank: 8, loraDropout: 0 }, 1);
    bank.initialise(0, 3n);
    const steps = 60;
    const one = languageExamples(1, [9, 12, 5]);
    const repeated = { row: 0, ...concatenated(Array.from({ length: steps }, () => one)), stream: 0n };
    const [result] = await train(bank, [repeated], { lr: 2e-2, cohort: 1 });
    expect(result!.losses.at(-1)!).toBeLessThan(0.5 * result!.losses[0]!);
    bank.dispose();
    backbone.dispose();
  });
});
