import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { heldAfter } from '../../src/federation/held.js';

describe('the numbers of held adapters', () => {
  it('are the labels where everyone took part', () => {
    expect(heldAfter([0, 0, 0, 0], [1, 0, 1, 2], 3)).toEqual([1, 0, 1, 2]);
  });

  it('follow the clusters for what absent clients kept, equal where they were equal', () => {
    expect(heldAfter([0, 1, 1, 0, 2], [0, undefined, undefined, undefined, 1], 2)).toEqual([0, 2, 2, 3, 1]);
  });

  it('start from 0 where nothing was averaged', () => {
    expect(heldAfter([2, 0, 1], [undefined, undefined, undefined], 0)).toEqual([0, 1, 2]);
  });

  it('have no gaps, and tell apart exactly what is different', () => {
    const adapters = fc.array(fc.tuple(fc.nat(5), fc.option(fc.nat(3), { nil: undefined })), { minLength: 1 });
    fc.assert(
      fc.property(adapters, (drawn) => {
        const held = drawn.map(([number]) => number);
        const used = [...new Set(drawn.flatMap(([, label]) => label ?? []))].sort();
        const labels = drawn.map(([, label]) => (label === undefined ? undefined : used.indexOf(label)));
        const after = heldAfter(held, labels, used.length);
        expect([...new Set(after)].sort((a, b) => a - b)).toEqual([...new Set(after).keys()].map((_, i) => i));
        const meaning = labels.map((label, i) => (label === undefined ? `kept ${held[i]!}` : `cluster ${label}`));
        for (let i = 0; i < after.length; i += 1) {
          for (let j = 0; j < i; j += 1) expect(after[i] === after[j]).toBe(meaning[i] === meaning[j]);
        }
      }),
    );
  });
});
