import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AdapterBank,
  Backbone,
  describeArchitecture,
  evaluate,
  gradient,
  kmeans,
  memoryHeld,
  train,
} from '../../src/engine/index.js';
import type { AdapterSpec, PackedSequences, TrainJob } from '../../src/engine/index.js';
import { FltacError } from '../../src/errors.js';
import { Generator } from '../../src/numpy/index.js';
import { difference } from '../support/compare.js';

const folder = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));
const spec: AdapterSpec = {
  rank: 3,
  loraAlpha: 16,
  loraDropout: 0.1,
  targetModules: ['query', 'value'],
  numLabels: 2,
  trainHead: true,
};

type TextJob = TrainJob<PackedSequences>;

/** Random sequences of the fixture's vocabulary. */
function sequences(seed: number, lengths: readonly number[], classes = 2): PackedSequences {
  const random = new Generator(seed);
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + length);
  const total = offsets.at(-1)!;
  return {
    ids: Int32Array.from({ length: total }, () => 1 + Math.floor(random.random() * 59)),
    offsets: Int32Array.from(offsets),
    typeIds: Uint8Array.from({ length: total }, () => (random.random() < 0.5 ? 0 : 1)),
    labels: Int32Array.from(lengths, () => Math.floor(random.random() * classes)),
  };
}

function job(row: number, seed: number, steps: number, lengths: readonly number[] = [3, 17, 1, 8]): TextJob {
  const all = Array.from({ length: steps }, () => lengths).flat();
  return {
    row,
    examples: sequences(seed, all),
    batches: Int32Array.from({ length: steps + 1 }, (_, step) => step * lengths.length),
    stream: BigInt(1000 + seed),
  };
}

let backbone: Backbone;

beforeAll(async () => {
  backbone = await Backbone.load(folder);
});
afterAll(() => backbone.dispose());

/** A bank whose rows all hold one random state, B included, so that every gradient is alive. */
function bankOf(rows: number, changes: Partial<AdapterSpec> = {}): AdapterBank {
  const bank = new AdapterBank(backbone, { ...spec, ...changes }, rows);
  const random = new Generator(5);
  const state = Float32Array.from({ length: bank.layout.size }, () => (random.random() - 0.5) * 0.6);
  for (let row = 0; row < rows; row++) bank.set(row, state);
  return bank;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof FltacError ? error.code : undefined;
}

describe('the gradient', () => {
  const targets = [
    ['query', 'value'],
    ['key', 'attention.output.dense'],
    ['intermediate.dense', 'encoder.layer.1.output.dense'],
    ['layer.1.attention.self.query'],
  ];
  it.each(targets.map((modules) => [modules]))(
    'equals finite differences under fixed dropout masks, LoRA on %s',
    async (targetModules) => {
      const bank = bankOf(1, { targetModules });
      const one = job(0, 1, 1);
      const exact = await gradient(bank, one, { dropout: true });
      const start = bank.get(0);
      const random = new Generator(9);
      for (const { offset, shape, name } of bank.layout.tensors) {
        const size = shape.reduce((a, b) => a * b, 1);
        const direction = Float32Array.from({ length: size }, () => (random.random() < 0.5 ? -1 : 1));
        let expected = 0;
        for (let i = 0; i < size; i++) expected += direction[i]! * exact.gradient[offset + i]!;
        const step = 2e-3;
        const losses: number[] = [];
        for (const sign of [1, -1]) {
          const moved = start.slice();
          for (let i = 0; i < size; i++) moved[offset + i]! += sign * step * direction[i]!;
          bank.set(0, moved);
          losses.push((await gradient(bank, one, { dropout: true })).loss);
        }
        // Float32 forward: the loss is known to about 1e-7, its second difference to about 1e-4 of the slope's scale.
        expect(Math.abs((losses[0]! - losses[1]!) / (2 * step) - expected), name).toBeLessThan(
          2e-3 + 0.01 * Math.abs(expected),
        );
      }
      bank.dispose();
    },
  );

  it('draws the same masks for the same stream, others for another', async () => {
    const bank = bankOf(1);
    const one = job(0, 1, 1);
    const [a, b] = [await gradient(bank, one, { dropout: true }), await gradient(bank, one, { dropout: true })];
    const c = await gradient(bank, { ...one, stream: 7n }, { dropout: true });
    const off = await gradient(bank, one, { dropout: false });
    expect(a.loss).toBe(b.loss);
    expect(a.gradient).toEqual(b.gradient);
    expect(c.loss).not.toBe(a.loss);
    expect(off.loss).not.toBe(a.loss);
    bank.dispose();
  });

  it('keeps the loss unbiased: its mean over streams is near the loss of one small dropout', async () => {
    const bank = bankOf(1);
    let mean = 0;
    const runs = 200;
    for (let s = 0; s < runs; s++) {
      mean += (await gradient(bank, { ...job(0, 1, 1), stream: BigInt(s) }, { dropout: true })).loss / runs;
    }
    const off = await gradient(bank, job(0, 1, 1), { dropout: false });
    // Dropout adds variance, which cross-entropy turns into a small rise; a wrong scale would move it far.
    expect(Math.abs(mean - off.loss)).toBeLessThan(0.15);
    bank.dispose();
  });
});

describe('a cohort', () => {
  it('trains each adapter as if alone: other lengths, steps, batch sizes and masks beside it', async () => {
    const jobs = [job(0, 1, 6), job(1, 2, 3, [20, 2]), job(2, 3, 5, [1, 1, 1, 9, 4, 30]), job(3, 4, 1, [7])];
    const together = bankOf(4);
    const alone = bankOf(4);
    const a = await train(together, jobs, { lr: 5e-3, cohort: 4 });
    const b = await train(alone, jobs, { lr: 5e-3, cohort: 1 });
    for (const [j, { losses }] of a.entries()) {
      expect(losses.length).toBe(jobs[j]!.batches.length - 1);
      expect(difference(losses, b[j]!.losses).max).toBeLessThan(2e-6);
      // Products of other sizes are summed in another order; AdamW's first steps turn that into at most lr x 1e-3.
      expect(difference(together.get(j), alone.get(j)).mean).toBeLessThan(1e-6);
      expect(difference(together.get(j), alone.get(j)).max).toBeLessThan(5e-5);
    }
    together.dispose();
    alone.dispose();
  });

  it('trains tasks of two, three and five classes together as alone, short ones ending first', async () => {
    const task = (row: number, classes: number, steps: number, lengths: readonly number[]): TextJob => {
      const all = Array.from({ length: steps }, () => lengths).flat();
      return { ...job(row, 7 + row, steps, lengths), examples: sequences(7 + row, all, classes) };
    };
    const jobs = [
      task(0, 2, 1, [31]),
      task(1, 5, 7, [2, 9, 4]),
      task(2, 3, 4, [6, 6, 1, 12, 3, 8, 8]),
      task(3, 2, 7, [5]),
    ];
    const together = bankOf(4, { numLabels: 5 });
    const alone = bankOf(4, { numLabels: 5 });
    const finished: number[] = [];
    const onProgress = (done: number) => finished.push(done);
    const a = await train(together, jobs, { lr: 5e-3, cohort: 4, onProgress });
    const b = await Promise.all(jobs.map((one) => train(alone, [one], { lr: 5e-3, cohort: 1 })));
    expect(finished.at(-1)).toBe(1 + 7 + 4 + 7);
    for (const [j, { losses }] of a.entries()) {
      expect(difference(losses, b[j]![0]!.losses).max).toBeLessThan(5e-6);
      expect(difference(together.get(j), alone.get(j)).mean).toBeLessThan(1e-6);
      expect(difference(together.get(j), alone.get(j)).max).toBeLessThan(5e-5);
    }
    together.dispose();
    alone.dispose();
  });

  it('leaves rows that it does not train as they are', async () => {
    const bank = bankOf(3);
    const before = bank.get(1);
    await train(bank, [job(0, 1, 2), job(2, 1, 2)], { lr: 1e-2, cohort: 2 });
    expect(bank.get(1)).toEqual(before);
    expect(bank.get(0)).not.toEqual(before);
    bank.dispose();
  });

  it('gives the same bytes for the same seed', async () => {
    const results = [];
    for (let run = 0; run < 2; run++) {
      const bank = bankOf(2);
      await train(bank, [job(0, 1, 4), job(1, 2, 4)], { lr: 5e-3, cohort: 2 });
      results.push([bank.get(0), bank.get(1)]);
      bank.dispose();
    }
    expect(results[0]).toEqual(results[1]);
  });

  it('learns: the loss on a fixed batch falls', async () => {
    const bank = new AdapterBank(backbone, spec, 1);
    bank.initialise(0, 3n);
    const one = job(0, 1, 1, [5, 9, 12, 4, 6, 7]);
    const many = { ...one, batches: new Int32Array(0), examples: one.examples };
    const steps = 60;
    const repeated = Array.from({ length: steps }, () => one.examples);
    many.examples = {
      ids: Int32Array.from(repeated.flatMap((part) => [...part.ids])),
      typeIds: Uint8Array.from(repeated.flatMap((part) => [...part.typeIds!])),
      labels: Int32Array.from(repeated.flatMap((part) => [...part.labels])),
      offsets: Int32Array.from({ length: steps * 6 + 1 }, (_, i) => {
        const length = one.examples.ids.length;
        return Math.floor(i / 6) * length + one.examples.offsets[i % 6]!;
      }),
    };
    many.batches = Int32Array.from({ length: steps + 1 }, (_, step) => step * 6);
    const [result] = await train(bank, [many], { lr: 1e-2, cohort: 1, dropout: false });
    expect(result!.losses.at(-1)!).toBeLessThan(0.3 * result!.losses[0]!);
    bank.dispose();
  });
});

describe('a frozen head', () => {
  it('is no part of the adapter, is used, and stays as it was drawn', async () => {
    const bank = new AdapterBank(backbone, { ...spec, trainHead: false }, 2);
    expect(bank.layout.tensors.every(({ name }) => name.includes('.lora_'))).toBe(true);
    bank.initialise(0, 11n);
    const evaluated = { row: 1, examples: sequences(4, [5, 6]) };
    const [before] = await evaluate(bank, [evaluated]);
    await train(bank, [job(0, 1, 3)], { lr: 1e-2, cohort: 1 });
    const [after] = await evaluate(bank, [evaluated]);
    expect(after!.logits).toEqual(before!.logits);
    expect(new Set(before!.logits).size).toBeGreaterThan(1);
    bank.dispose();
  });
});

describe('an initial adapter', () => {
  it("is PEFT's: A uniform in +-1/sqrt(inputs), B zero, the head normal with the initializer range", () => {
    const bank = new AdapterBank(backbone, { ...spec, rank: 24, numLabels: 400 }, 1);
    bank.initialise(0, 1n);
    const flat = bank.get(0);
    for (const { name, shape, offset } of bank.layout.tensors) {
      const part = flat.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
      const mean = part.reduce((a, b) => a + b, 0) / part.length;
      const deviation = Math.sqrt(part.reduce((a, b) => a + (b - mean) ** 2, 0) / part.length);
      if (name.includes('lora_A')) {
        const bound = 1 / Math.sqrt(24);
        expect(Math.max(...part)).toBeLessThanOrEqual(bound);
        expect(Math.min(...part)).toBeGreaterThanOrEqual(-bound);
        expect(Math.abs(deviation - bound / Math.sqrt(3))).toBeLessThan(0.03 * bound);
      } else if (name.endsWith('modules_to_save.default.weight')) {
        expect(Math.abs(deviation - 0.02)).toBeLessThan(0.001);
        expect(Math.abs(mean)).toBeLessThan(0.001);
      } else {
        expect(part.every((value) => value === 0)).toBe(true);
      }
    }
    bank.initialise(0, 2n);
    expect(bank.get(0)).not.toEqual(flat);
    bank.dispose();
  });
});

describe('averaging', () => {
  it('equals hand arithmetic and leaves rows without members alone', async () => {
    const bank = bankOf(4);
    const into = new AdapterBank(backbone, spec, 3);
    const size = bank.layout.size;
    for (let row = 0; row < 4; row++) bank.set(row, new Float32Array(size).fill(row + 1));
    await bank.average({
      rows: Int32Array.of(0, 1, 3),
      labels: Int32Array.of(2, 0, 2),
      weights: Float64Array.of(1, 5, 3),
      into,
    });
    expect(into.get(0)[0]).toBe(2);
    expect(into.get(2)[size - 1]).toBe((1 * 1 + 3 * 4) / 4);
    expect(into.get(1).every((value) => value === 0)).toBe(true);
    bank.dispose();
    into.dispose();
  });
});

describe('an abort signal', () => {
  it('stops training at the next step with ABORTED and leaves a usable bank', async () => {
    const bank = bankOf(1);
    const controller = new AbortController();
    const running = train(bank, [job(0, 1, 2000)], {
      lr: 1e-3,
      cohort: 1,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(bank.get(0).every(Number.isFinite)).toBe(true);
    bank.dispose();
  });

  it('is not needed for a progress callback that throws: the call ends with what it threw', async () => {
    const bank = bankOf(1);
    const onProgress = () => {
      throw new RangeError('the callback failed');
    };
    const running = train(bank, [job(0, 1, 2000)], { lr: 1e-3, cohort: 1, onProgress });
    await expect(running).rejects.toThrow(RangeError);
    bank.dispose();
  });

  it('that has fired already stops a call before its first step', async () => {
    const bank = bankOf(1);
    const before = bank.get(0);
    const running = train(bank, [job(0, 1, 3)], { lr: 1e-3, cohort: 1, signal: AbortSignal.abort() });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(bank.get(0)).toEqual(before);
    bank.dispose();
  });
});

describe('native memory', () => {
  it('is counted, once for the backbone whatever the banks, and returns to its start after dispose', async () => {
    const start = memoryHeld();
    const other = await Backbone.load(folder);
    // Linear weights are held in one layout or two, which oneDNN pads to whole blocks; everything else once.
    expect(other.info.bytes).toBeGreaterThanOrEqual(other.info.parameters * 4);
    expect(other.info.bytes).toBeLessThanOrEqual(other.info.parameters * 40);
    expect(other.info.placement.reduce((sum, part) => sum + part.bytes, 0)).toBe(other.info.bytes);
    const banks = [100, 200].map((rows) => new AdapterBank(other, spec, rows));
    const size = banks[0]!.layout.size;
    expect(memoryHeld() - start).toBe(other.info.bytes + 300 * size * 4);
    banks.forEach((bank) => bank.dispose());
    other.dispose();
    expect(memoryHeld()).toBe(start);
  });

  it('does not grow over hundreds of loads, trainings and evaluations', async () => {
    const once = async () => {
      const other = await Backbone.load(folder);
      const bank = new AdapterBank(other, spec, 2);
      bank.initialise(0, 1n);
      bank.copy(0, 1);
      await train(bank, [job(0, 1, 2), job(1, 2, 2)], { lr: 1e-3, cohort: 2 });
      await evaluate(bank, [{ row: 0, examples: sequences(1, [4, 5]) }]);
      bank.dispose();
      other.dispose();
    };
    for (let i = 0; i < 50; i++) await once();
    const start = process.memoryUsage.rss();
    for (let i = 0; i < 200; i++) await once();
    // A leak of one backbone (50 kB) or bank a turn would show as 10 MB and more; the allocator's own play is below.
    expect(process.memoryUsage.rss() - start).toBeLessThan(8e6);
  });
});

describe('misuse', () => {
  it('of a disposed bank or backbone throws DISPOSED', async () => {
    const other = await Backbone.load(folder);
    const bank = new AdapterBank(other, spec, 1);
    other.dispose();
    other.dispose();
    // The bank keeps the weights it needs.
    await expect(evaluate(bank, [{ row: 0, examples: sequences(1, [3]) }])).resolves.toHaveLength(1);
    expect(() => new AdapterBank(other, spec, 1)).toThrow(/after dispose/);
    bank.dispose();
    expect(() => bank.get(0)).toThrow(/after dispose/);
    await expect(train(bank, [], { lr: 1, cohort: 1 })).rejects.toMatchObject({ code: 'DISPOSED' });
  });

  it('of a bank under training is refused until the call ends', async () => {
    const bank = bankOf(1);
    const running = train(bank, [job(0, 1, 50)], { lr: 1e-3, cohort: 1 });
    expect(() => bank.get(0)).toThrow(/in use/);
    await running;
    expect(bank.get(0).length).toBe(bank.layout.size);
    bank.dispose();
  });

  const broken: [string, string, (good: TextJob) => TextJob][] = [
    ['a row out of range', 'USAGE', (good) => ({ ...good, row: 9 })],
    ['a token outside the vocabulary', 'SHAPE', (good) => withIds(good, 60)],
    ['a negative token', 'SHAPE', (good) => withIds(good, -1)],
    [
      'a label outside the head',
      'SHAPE',
      (good) => ({ ...good, examples: { ...good.examples, labels: good.examples.labels.map(() => 2) } }),
    ],
    [
      'offsets that do not cover the ids',
      'SHAPE',
      (good) => ({ ...good, examples: { ...good.examples, offsets: good.examples.offsets.slice(0, -1) } }),
    ],
    [
      'too few labels',
      'SHAPE',
      (good) => ({ ...good, examples: { ...good.examples, labels: good.examples.labels.slice(1) } }),
    ],
    ['an empty batch', 'SHAPE', (good) => ({ ...good, batches: Int32Array.of(0, 2, 2) })],
    ['a batch past the end', 'SHAPE', (good) => ({ ...good, batches: Int32Array.of(0, 99) })],
    ['a sequence longer than the positions', 'SHAPE', () => job(0, 1, 1, [33])],
    ['no steps', 'SHAPE', (good) => ({ ...good, batches: Int32Array.of(0) })],
  ];
  it.each(broken)('%s throws %s and says what was found', async (_what, code, make) => {
    const bank = bankOf(1);
    await expect(train(bank, [make(job(0, 1, 2))], { lr: 1e-3, cohort: 1 })).rejects.toMatchObject({ code });
    bank.dispose();
  });

  it('by the wrong JavaScript types throws USAGE', async () => {
    const bank = bankOf(1);
    const good = job(0, 1, 1);
    for (const wrong of [
      { ...good, stream: 5 },
      { ...good, batches: [0, 1] },
      { ...good, examples: { ...good.examples, ids: new Float32Array(3) } },
      { ...good, row: 'x' },
      7,
    ]) {
      const error: unknown = await train(bank, [wrong as unknown as TrainJob], { lr: 1e-3, cohort: 1 }).catch(
        (e: unknown) => e,
      );
      expect(codeOf(error)).toBe('USAGE');
      expect((error as Error).stack).toContain('engine.test.ts');
    }
    bank.dispose();
  });

  it('by two jobs on one row throws USAGE', async () => {
    const bank = bankOf(1);
    await expect(train(bank, [job(0, 1, 1), job(0, 2, 1)], { lr: 1, cohort: 2 })).rejects.toMatchObject({
      code: 'USAGE',
    });
    bank.dispose();
  });

  it('by a target module that the model lacks names those it has', () => {
    expect(() => new AdapterBank(backbone, { ...spec, targetModules: ['q_proj'] }, 1)).toThrow(
      /"q_proj".*attention\.self\.query/,
    );
    expect(() => new AdapterBank(backbone, { ...spec, rank: 0 }, 1)).toThrow(/rank/);
  });

  it('by a model family outside the table names the families in it', () => {
    expect(() => describeArchitecture('{"model_type":"gpt2"}')).toThrow(/"gpt2" is not supported; supported: bert/);
    expect(() => describeArchitecture('{')).toThrow(/not valid JSON/);
  });

  it('by a config.json that nests without end or holds a text without end in one short message', () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    expect(() => describeArchitecture(`{"model_type":"bert","hidden_size":${deep}}`)).toThrow(
      /nested more than 64 deep/,
    );
    const long = 'é'.repeat(100_000);
    for (const text of [`{"model_type":"${long}"}`, `{"model_type":"bert","hidden_size":"${long}"}`, `{"a":"${long}`]) {
      expect(() => describeArchitecture(text)).toThrow(/^[^\ufffd]{10,1000}$/);
    }
  });
});

function withIds(good: TextJob, id: number): TextJob {
  return { ...good, examples: { ...good.examples, ids: good.examples.ids.map(() => id) } };
}

describe('kmeans', () => {
  it('clusters a matrix and a bank alike', async () => {
    const bank = new AdapterBank(backbone, spec, 6);
    const size = bank.layout.size;
    const matrix = new Float32Array(6 * size);
    const random = new Generator(1);
    for (let row = 0; row < 6; row++) {
      const values = Float32Array.from({ length: size }, () => (row % 2) * 5 + random.random());
      bank.set(row, values);
      matrix.set(values, row * size);
    }
    const a = await kmeans(bank, { k: 2, seed: 1 });
    const b = await kmeans(matrix, { rows: 6, columns: size, k: 2, seed: 1 });
    expect(a).toEqual(b);
    expect([...a.labels].map((label) => label === a.labels[0])).toEqual([true, false, true, false, true, false]);
    expect(a.path).toBe('gram');
    const part = await kmeans(bank, { k: 2, rows: Int32Array.of(1, 3, 4) });
    expect(part.labels[0]).toBe(part.labels[1]);
    expect(part.labels[2]).not.toBe(part.labels[0]);
    bank.dispose();
  });

  it('names the row and column of a value that is not finite', async () => {
    const data = new Float32Array(12);
    data[7] = NaN;
    await expect(kmeans(data, { rows: 4, columns: 3, k: 2 })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(/row 2.*column 1/) as string,
    });
    await expect(kmeans(data, { rows: 5, columns: 3, k: 2 })).rejects.toMatchObject({ code: 'SHAPE' });
  });
});
