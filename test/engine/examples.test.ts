import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inFormerOrder, sortByLength } from '../../src/engine/examples.js';
import { evaluate } from '../../src/engine/index.js';
import type { EvaluateResult, PackedSequences } from '../../src/engine/index.js';
import { difference } from '../support/compare.js';
import { familyFixture } from '../support/files.js';
import { classExamples, imageExamples, languageExamples, openBank } from '../support/models.js';

const lengths = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 });

/** Tokens and labels of each sequence. */
function rows({ ids, offsets, labels }: PackedSequences, perToken: boolean) {
  return Array.from({ length: offsets.length - 1 }, (_, i) => {
    const [from, to] = [offsets[i]!, offsets[i + 1]!];
    return { ids: [...ids.subarray(from, to)], labels: perToken ? [...labels.subarray(from, to)] : [labels[i]!] };
  });
}

describe('examples sorted by length', () => {
  it.each([
    ['classes', false, classExamples],
    ['next tokens', true, languageExamples],
  ] as const)('of %s are the same rows with rising lengths', (_, perToken, make) => {
    fc.assert(
      fc.property(lengths, (of) => {
        const before = make(1, of);
        const { examples, order } = sortByLength(before);
        const known = rows(before, perToken);
        expect(rows(examples, perToken)).toEqual(Array.from(order, (place) => known[place]));
        const found = rows(examples, perToken).map((row) => row.ids.length);
        expect(found).toEqual([...of].sort((a, b) => a - b));
      }),
    );
  });

  it('give results that go back to their places', () => {
    fc.assert(
      fc.property(lengths, (of) => {
        const { order } = sortByLength(classExamples(1, of));
        const result: EvaluateResult = {
          logits: Float32Array.from([...order].flatMap((place) => [place, place + 100])),
          loss: 1,
          exampleLosses: Float64Array.from(order),
          exampleTargets: order.slice(),
        };
        const places = of.map((_, i) => i);
        const back = inFormerOrder(result, order);
        expect([...back.exampleLosses]).toEqual(places);
        expect([...back.exampleTargets]).toEqual(places);
        expect([...back.logits]).toEqual(places.flatMap((place) => [place, place + 100]));
      }),
    );
  });

  it('evaluate to what they evaluate to unsorted, whatever the batch', async () => {
    const { bank, dispose } = await openBank(familyFixture('roberta'), 1, { targetModules: ['query', 'value'] });
    const examples = classExamples(3, [9, 2, 30, 4, 4, 17, 1, 12]);
    const { examples: sorted, order } = sortByLength(examples);
    const [plain] = await evaluate(bank, [{ row: 0, examples }], { batchSize: 3 });
    for (const batchSize of [1, 3, 8]) {
      const [found] = await evaluate(bank, [{ row: 0, examples: sorted }], { batchSize });
      const back = inFormerOrder(found!, order);
      // Products of other sizes are summed in another order.
      expect(difference(back.logits, plain!.logits).max).toBeLessThan(1e-5);
      expect(difference(back.exampleLosses, plain!.exampleLosses).max).toBeLessThan(1e-5);
    }
    dispose();
  });

  it('leave images as they are', () => {
    const images = imageExamples(1, 3);
    expect(sortByLength(images)).toEqual({ examples: images, order: Int32Array.of(0, 1, 2) });
  });
});
