import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AdapterBank, Backbone, evaluate, generate } from '../../src/engine/index.js';
import type { GenerateJob, GenerateOptions, GenerateResult } from '../../src/engine/index.js';
import { familyFixture } from '../support/files.js';
import { changedModel, openBank, SPEC } from '../support/models.js';
import { offsetsOf } from '../support/reference-batches.js';
import { readReference, values } from '../support/safetensors.js';

const FAMILIES = ['llama3', 'llama_linear', 'mistral', 'qwen2'];
const VOCAB = 48;

interface Expected {
  rank: number;
  target_modules: string[];
  generation: {
    prompts: number[][];
    max_new_tokens: number;
    eos: number;
    answers: number[][];
    answers_until_eos: number[][];
  };
}

function prompts(list: readonly (readonly number[])[]): GenerateJob['prompts'] {
  return { ids: Int32Array.from(list.flat()), offsets: offsetsOf(list.map((prompt) => prompt.length)) };
}

function answersOf({ ids, offsets }: GenerateResult): number[][] {
  return [...offsets.subarray(1)].map((end, i) => [...ids.subarray(offsets[i], end)]);
}

/** A family's fixture with the adapter of its reference run in row 0 and another one in row 1. */
async function open(name: string) {
  const folder = familyFixture(name);
  const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')) as Expected;
  const tensors = readReference(`${folder}/expected.safetensors`);
  const spec = { rank: expected.rank, targetModules: expected.target_modules };
  const { bank, dispose } = await openBank(folder, 2, spec);
  const start = new Float32Array(bank.layout.size);
  for (const { name: tensor, offset } of bank.layout.tensors) start.set(values(tensors, `init.${tensor}`), offset);
  bank.set(0, start);
  bank.set(
    1,
    bank.get(1).map((x) => 2 * x),
  );
  return { bank, dispose, ...expected.generation };
}

const greedy = (options: Partial<GenerateOptions> = {}): GenerateOptions => ({
  maxNewTokens: 12,
  eosIds: [],
  ...options,
});

describe.each(FAMILIES)('greedy answers of %s', (name) => {
  it("equal transformers' generate, whatever the batch", async () => {
    const { bank, dispose, ...given } = await open(name);
    const job = { row: 0, prompts: prompts(given.prompts) };
    for (const batchSize of [1, 2, 16]) {
      const options = greedy({ maxNewTokens: given.max_new_tokens, batchSize });
      const [open] = await generate(bank, [job], options);
      expect(answersOf(open!)).toEqual(given.answers);
      expect([...open!.finished]).toEqual(given.prompts.map(() => 0));
      const [ended] = await generate(bank, [job], { ...options, eosIds: [given.eos] });
      expect(answersOf(ended!)).toEqual(given.answers_until_eos);
      expect([...ended!.finished]).toEqual(given.answers.map((answer) => (answer.includes(given.eos) ? 1 : 0)));
    }
    dispose();
  });

  it('are the most likely tokens of full forward passes', async () => {
    const { bank, dispose, ...given } = await open(name);
    const [result] = await generate(bank, [{ row: 1, prompts: prompts(given.prompts) }], greedy());
    const whole = answersOf(result!).map((answer, i) => [...given.prompts[i]!, ...answer]);
    const examples = {
      ids: Int32Array.from(whole.flat()),
      offsets: offsetsOf(whole.map((ids) => ids.length)),
      labels: Int32Array.from(
        whole.flatMap((ids, i) => ids.map((id, t) => (t < given.prompts[i]!.length ? -100 : id))),
      ),
    };
    const [forced] = await evaluate(bank, [{ row: 1, examples }], { targetLogits: true });
    const best = Array.from({ length: forced!.logits.length / VOCAB }, (_, t) => {
      const row = forced!.logits.subarray(t * VOCAB, (t + 1) * VOCAB);
      return row.indexOf(Math.max(...row));
    });
    expect(best).toEqual([...result!.ids]);
    dispose();
  });
});

describe('generation', () => {
  it('with several adapters in one pass gives what each gives alone, jobs of one row among them', async () => {
    const { bank, dispose, ...given } = await open('llama3');
    const jobs = [0, 1, 0].map((row, j) => ({ row, prompts: prompts(given.prompts.slice(j)) }));
    const options = greedy({ eosIds: [given.eos], batchSize: 4 });
    const together = await generate(bank, jobs, options);
    for (const [j, job] of jobs.entries()) {
      expect((await generate(bank, [job], options))[0]).toEqual(together[j]);
    }
    expect(answersOf(together[1]!)).not.toEqual(answersOf(together[0]!).slice(1));
    dispose();
  });

  it('stops at the last position of the model', async () => {
    const { bank, dispose } = await open('llama3');
    const long = Array.from({ length: 62 }, (_, i) => i % VOCAB);
    const full = Array.from({ length: 64 }, (_, i) => i % VOCAB);
    const [result] = await generate(bank, [{ row: 0, prompts: prompts([long, full, [3]]) }], greedy({ batchSize: 2 }));
    expect(answersOf(result!).map((answer) => answer.length)).toEqual([2, 0, 12]);
    expect([...result!.finished]).toEqual([0, 0, 0]);
    dispose();
  });

  it('of no prompts, or of no jobs, is empty', async () => {
    const { bank, dispose } = await open('llama3');
    expect(await generate(bank, [], greedy())).toEqual([]);
    const [result] = await generate(bank, [{ row: 0, prompts: prompts([]) }], greedy());
    expect(result).toEqual({ ids: new Int32Array(0), offsets: Int32Array.of(0), finished: new Uint8Array(0) });
    dispose();
  });

  it('takes the first of equally likely tokens', async () => {
    // The head is the word embedding: where that is zero, so are all logits.
    const folder = await changedModel('qwen2', {}, (tensors) => {
      tensors.get('model.embed_tokens.weight')!.data.fill(0);
    });
    const { bank, dispose } = await openBank(folder, 1);
    const [result] = await generate(bank, [{ row: 0, prompts: prompts([[5], [8, 9]]) }], greedy());
    expect(result!.ids).toEqual(new Int32Array(24));
    dispose();
  });

  it('reports prompts that are done and stops at a signal, leaving the bank usable', async () => {
    const { bank, dispose, ...given } = await open('llama3');
    const seen: [number, number][] = [];
    const job = { row: 0, prompts: prompts(given.prompts) };
    await generate(bank, [job], greedy({ onProgress: (done, total) => seen.push([done, total]) }));
    expect(seen.every(([done, total]) => total === 5 && done <= 5)).toBe(true);
    const controller = new AbortController();
    const many = { row: 0, prompts: prompts(Array.from({ length: 2000 }, () => given.prompts[1]!)) };
    const running = generate(
      bank,
      [many],
      greedy({ maxNewTokens: 50, batchSize: 1, signal: controller.signal, onProgress: () => controller.abort() }),
    );
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(bank.get(0).every(Number.isFinite)).toBe(true);
    dispose();
  });
});

describe('sampling', () => {
  const streamsOf = (n: number, first = 0) => BigUint64Array.from({ length: n }, (_, i) => BigInt(first + i));

  it('gives the same answers for the same streams, alone or together, and others for others', async () => {
    const { bank, dispose, ...given } = await open('llama3');
    const job = { row: 0, prompts: prompts(given.prompts), streams: streamsOf(5) };
    const options = greedy({ temperature: 0.9, topP: 0.95 });
    const [a] = await generate(bank, [job], options);
    const [b] = await generate(bank, [job], { ...options, batchSize: 2 });
    const [c] = await generate(bank, [{ ...job, streams: streamsOf(5, 100) }], options);
    expect(b).toEqual(a);
    expect(answersOf(c!)).not.toEqual(answersOf(a!));
    const one = { row: 0, prompts: prompts([given.prompts[3]!]), streams: BigUint64Array.of(3n) };
    expect(answersOf((await generate(bank, [one], options))[0]!)[0]).toEqual(answersOf(a!)[3]);
    dispose();
  });

  /** Frequencies of the first token over n streams, and the probabilities they should have. */
  async function firstTokens(n: number, temperature: number, topP: number) {
    const { bank, dispose, ...given } = await open('llama3');
    const prompt = given.prompts[0]!;
    const many = prompts(Array.from({ length: n }, () => prompt));
    const options = greedy({ maxNewTokens: 1, temperature, topP, batchSize: 64 });
    const [drawn] = await generate(bank, [{ row: 0, prompts: many, streams: streamsOf(n) }], options);
    const examples = {
      ids: Int32Array.from([...prompt, 0]),
      offsets: Int32Array.of(0, prompt.length + 1),
      labels: Int32Array.from([...prompt.map(() => -100), 0]),
    };
    const [forced] = await evaluate(bank, [{ row: 0, examples }], { targetLogits: true });
    dispose();
    const top = Math.max(...forced!.logits);
    const weights = Array.from(forced!.logits, (x) => Math.exp((x - top) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    const counts = new Array<number>(VOCAB).fill(0);
    drawn!.ids.forEach((id) => (counts[id]! += 1));
    return { probabilities: weights.map((weight) => weight / total), frequencies: counts.map((count) => count / n) };
  }

  it('draws each token as often as the softmax at that temperature says', async () => {
    const n = 4000;
    const { probabilities, frequencies } = await firstTokens(n, 1.5, 1);
    probabilities.forEach((p, token) => {
      // Five standard deviations of a frequency.
      expect(Math.abs(frequencies[token]! - p), `token ${token}`).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n) + 1e-9);
    });
    expect(frequencies.filter((f) => f > 0).length).toBeGreaterThan(5);
  });

  it('with top-p draws only from the likeliest tokens that reach it together', async () => {
    const { probabilities, frequencies } = await firstTokens(4000, 1.5, 0.6);
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!);
    const kept = new Set<number>();
    let reached = 0;
    for (const token of order) {
      if (reached >= 0.6) break;
      reached += probabilities[token]!;
      kept.add(token);
    }
    expect(kept.size).toBeGreaterThan(1);
    frequencies.forEach((f, token) => {
      const p = kept.has(token) ? probabilities[token]! / reached : 0;
      expect(Math.abs(f - p), `token ${token}`).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / 4000) + 1e-9);
    });
  });

  it('with a tiny top-p is greedy', async () => {
    const { bank, dispose, ...given } = await open('llama3');
    const job = { row: 0, prompts: prompts(given.prompts), streams: streamsOf(5) };
    const [sampled] = await generate(bank, [job], greedy({ temperature: 2, topP: 1e-9 }));
    expect(answersOf(sampled!)).toEqual(given.answers);
    dispose();
  });
});

describe('generation is refused', () => {
  const job = { row: 0, prompts: prompts([[1, 2]]) };
  const cases: [string, string, RegExp, GenerateJob, Partial<GenerateOptions>][] = [
    ['a temperature without streams', 'USAGE', /0 streams for 1 prompts/, job, { temperature: 1 }],
    ['streams of another number', 'USAGE', /2 streams for 1/, { ...job, streams: new BigUint64Array(2) }, {}],
    ['a negative temperature', 'USAGE', /temperature must be 0 or more, found -1/, job, { temperature: -1 }],
    ['a top-p of 0', 'USAGE', /topP must be above 0/, job, { topP: 0 }],
    ['no new tokens', 'USAGE', /maxNewTokens must be 1 or more/, job, { maxNewTokens: 0 }],
    ['an end token outside the vocabulary', 'USAGE', /eosIds: 48 is not in/, job, { eosIds: [48] }],
    ['a batch of none', 'USAGE', /batchSize must be 1 or more/, job, { batchSize: 0 }],
    ['an empty prompt', 'SHAPE', /generation job 0: sequence 0 is empty/, { row: 0, prompts: prompts([[]]) }, {}],
    ['a token outside the vocabulary', 'SHAPE', /token id 99/, { row: 0, prompts: prompts([[99]]) }, {}],
    [
      'a prompt longer than the positions',
      'SHAPE',
      /65 tokens/,
      { row: 0, prompts: prompts([Array.from({ length: 65 }, () => 1)]) },
      {},
    ],
    ['a row that is not there', 'USAGE', /row 7/, { ...job, row: 7 }, {}],
  ];
  it.each(cases)('%s: %s', async (_, code, message, bad, options) => {
    const { bank, dispose } = await open('llama3');
    await expect(generate(bank, [bad], greedy(options))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
    dispose();
  });

  it('for a model that classifies', async () => {
    const backbone = await Backbone.load(familyFixture('roberta'));
    const bank = new AdapterBank(backbone, { ...SPEC, targetModules: ['query'] }, 1);
    await expect(generate(bank, [job], greedy())).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/roberta models classify/) as string,
    });
    bank.dispose();
    backbone.dispose();
  });
});
