import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate, setThreads } from '../../src/engine/index.js';
import type { AdapterBank, EvaluateJob, EvaluateResult, Examples } from '../../src/engine/index.js';
import { exampleCount } from '../../src/engine/examples.js';
import { resolveThreads } from '../../src/engine/threads.js';
import { predictionOf } from '../../src/federation/metrics.js';
import { Generator } from '../../src/numpy/index.js';
import { difference, largest } from '../support/compare.js';
import { familyFixture } from '../support/files.js';
import { classExamples, imageExamples, languageExamples, openBank } from '../support/models.js';
import { concatenated } from '../support/reference-batches.js';
import { describeWithShared } from '../support/shared.js';
import { SHARED_MODELS, SMALL_MODELS, type TracedModel } from '../support/traces.js';

/**
 * Of the largest logit or loss. The order in which a product is summed may depend on how many rows a pass has (with AVX-512
 * only in libtorch's products: a classifier's head, whole models). Seen were differences of 4e-7.
 */
const ROUNDING = 1e-5;

/** Gives each row of a bank an adapter of its own. */
function drawRows(bank: AdapterBank): void {
  const random = new Generator(11);
  for (let row = 0; row < bank.rows; row++) {
    bank.set(
      row,
      Float32Array.from({ length: bank.layout.size }, () => (random.random() - 0.5) * 0.3),
    );
  }
}

function expectNear(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(difference(found, expected).max).toBeLessThanOrEqual(ROUNDING * largest(expected));
}

function expectSame(found: EvaluateResult, expected: EvaluateResult): void {
  expectNear(found.logits, expected.logits);
  expectNear(found.exampleLosses, expected.exampleLosses);
  expectNear([found.loss], [expected.loss]);
  expect(found.exampleTargets).toEqual(expected.exampleTargets);
}

/** Evaluates jobs in one call with several batch sizes, and compares with each job in a call of its own. */
async function expectAsAlone(bank: AdapterBank, jobs: readonly EvaluateJob[], classes?: number): Promise<void> {
  const alone: EvaluateResult[] = [];
  for (const job of jobs) alone.push((await evaluate(bank, [job], { targetLogits: true }))[0]!);
  for (const batchSize of [1, 2, 3, 64]) {
    const together = await evaluate(bank, jobs, { batchSize, targetLogits: true });
    expect(together).toHaveLength(jobs.length);
    together.forEach((found, j) => {
      expectSame(found, alone[j]!);
      if (classes === undefined) return;
      const predictions = ({ logits }: EvaluateResult) =>
        Array.from({ length: exampleCount(jobs[j]!.examples) }, (_, i) => predictionOf(logits, i, classes));
      expect(predictions(found)).toEqual(predictions(alone[j]!));
    });
  }
}

/** Jobs on three adapters: two of one adapter, two of the same examples, one without any. */
function jobsOf(examples: (seed: number) => Examples, none: Examples): EvaluateJob[] {
  return [
    { row: 2, examples: examples(1) },
    { row: 0, examples: examples(2) },
    { row: 0, examples: none },
    { row: 1, examples: examples(1) },
    { row: 2, examples: examples(3) },
  ];
}

function emptied(examples: Examples): Examples {
  const labels = new Int32Array(0);
  if (!('ids' in examples)) return { ...examples, pixels: new Uint8Array(0), sizes: new Int32Array(0), labels };
  return { ids: new Int32Array(0), offsets: Int32Array.of(0), labels };
}

function modelTests(models: readonly TracedModel[]): void {
  it.each(models)('$name', async ({ folder, spec, examples }) => {
    const { backbone, bank, dispose } = await openBank(await folder(), 3, spec);
    drawRows(bank);
    const classes = backbone.info.output === 'classes' ? 3 : undefined;
    await expectAsAlone(bank, jobsOf(examples, emptied(examples(1))), classes);
    dispose();
  });
}

describe('jobs evaluated together give what each gives alone, whatever the batch:', () => modelTests(SMALL_MODELS));
describeWithShared('golden models evaluate jobs together as alone:', () => modelTests(SHARED_MODELS));

describe('evaluation', () => {
  it('of tasks with different numbers of classes and examples keeps them apart', async () => {
    const { bank, dispose } = await openBank(familyFixture('roberta'), 3, {
      targetModules: ['query', 'value'],
      trainHead: true,
      numLabels: 5,
    });
    drawRows(bank);
    const lengths = (n: number, seed: number) => Array.from({ length: n }, (_, i) => 1 + ((i * seed) % 17));
    const jobs = [
      { row: 0, examples: classExamples(1, lengths(40, 5), 48, 2) },
      { row: 1, examples: classExamples(2, lengths(7, 3), 48, 5) },
      { row: 2, examples: classExamples(3, lengths(130, 7), 48, 3) },
    ];
    await expectAsAlone(bank, jobs, 5);
    const results = await evaluate(bank, jobs);
    expect(results.map(({ logits }) => logits.length)).toEqual([200, 35, 650]);
    dispose();
  });

  it('of whole models gives each its own', async () => {
    const { bank, dispose } = await openBank(familyFixture('roberta'), 3, { tuning: 'full', trainHead: true });
    for (let row = 0; row < 3; row++) bank.initialise(row, BigInt(row));
    const jobs = jobsOf((seed) => classExamples(seed, [3, 17, 1, 8, 8]), emptied(classExamples(1, [1])));
    await expectAsAlone(bank, jobs, 3);
    const results = await evaluate(bank, jobs);
    expect(results[0]!.logits).not.toEqual(results[3]!.logits);
    dispose();
  });

  it('puts every result at the place of its example', async () => {
    const { bank, dispose } = await openBank(familyFixture('llama3'), 1);
    const known = new Map<number, { loss: number; targets: number }>();
    for (let length = 2; length <= 12; length++) {
      const [result] = await evaluate(bank, [{ row: 0, examples: languageExamples(length, [length]) }]);
      known.set(length, { loss: result!.exampleLosses[0]!, targets: result!.exampleTargets[0]! });
    }
    const lengths = fc.array(fc.integer({ min: 2, max: 12 }), { minLength: 1, maxLength: 9 });
    const property = fc.asyncProperty(
      fc.array(lengths, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 6 }),
      async (jobs, batchSize) => {
        const results = await evaluate(
          bank,
          jobs.map((of) => {
            return { row: 0, examples: concatenated(of.map((length) => languageExamples(length, [length]))).examples };
          }),
          { batchSize },
        );
        results.forEach(({ exampleLosses, exampleTargets }, j) => {
          const expected = jobs[j]!.map((length) => known.get(length)!);
          expect([...exampleTargets]).toEqual(expected.map(({ targets }) => targets));
          expectNear(
            exampleLosses,
            expected.map(({ loss }) => loss),
          );
        });
      },
    );
    await fc.assert(property, { numRuns: 40 });
    dispose();
  });

  it('gives the same bits every time', async () => {
    const { bank, dispose } = await openBank(familyFixture('vit'), 3, { targetModules: ['query'], trainHead: true });
    drawRows(bank);
    const jobs = jobsOf((seed) => imageExamples(seed, 3 * seed), emptied(imageExamples(1, 1)));
    expect(await evaluate(bank, jobs)).toEqual(await evaluate(bank, jobs));
    dispose();
  });

  it('tells of all jobs together how far it is, and stops at the next pass', async () => {
    const { bank, dispose } = await openBank(familyFixture('roberta'), 2, { targetModules: ['query'] });
    const examples = classExamples(1, Array<number>(3000).fill(30));
    const jobs = [0, 1].map((row) => ({ row, examples }));
    const told: number[][] = [];
    await evaluate(bank, jobs, { batchSize: 4, onProgress: (...now) => told.push(now) });
    expect(told.every(([done, total], i) => total === 6000 && done! > (told[i - 1]?.[0] ?? 0))).toBe(true);
    expect(told.at(-1)).toEqual([6000, 6000]);
    const stop = new AbortController();
    let done = 0;
    const stopped = evaluate(bank, jobs, {
      batchSize: 4,
      signal: stop.signal,
      onProgress: (now) => {
        done = now;
        stop.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    expect(done).toBeLessThan(6000);
    dispose();
  });

  it.each([1, 2])('takes no more than 1,024 tokens for each of %d threads of a CPU at a time', async (threads) => {
    const { bank, dispose } = await openBank(
      familyFixture('roberta'),
      1,
      { targetModules: ['query'] },
      { device: 'cpu' },
    );
    const examples = classExamples(1, Array<number>(3000).fill(30));
    const told: number[] = [];
    setThreads(threads);
    try {
      await evaluate(bank, [{ row: 0, examples }], { batchSize: 1e9, onProgress: (done) => told.push(done) });
    } finally {
      setThreads(resolveThreads(0));
    }
    expect(told[0]).toBe(Math.floor((1024 * threads) / 30));
    dispose();
  });
});
