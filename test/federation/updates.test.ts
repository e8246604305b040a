import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clipUpdate, updateOf } from '../../src/federation/updates.js';
import { FAKE_LAYOUT } from '../support/fake-engine.js';

const size = FAKE_LAYOUT.size;
const adapter = fc
  .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: size, maxLength: size })
  .map((values) => Float32Array.from(values));

describe('an update', () => {
  it('has the length of the change, and the tensors that changed', () => {
    const received = new Float32Array(size).fill(1);
    const sent = received.slice();
    sent[0] = 4;
    sent[9] = -3;
    expect(updateOf(FAKE_LAYOUT, received, sent)).toEqual({ movedTensors: 2, norm: 5 });
    expect(updateOf(FAKE_LAYOUT, received, received)).toEqual({ movedTensors: 0, norm: 0 });
  });

  it('is shortened to the norm and keeps its direction', () => {
    fc.assert(
      fc.property(adapter, adapter, fc.float({ min: 1, max: 50, noNaN: true }), (received, sent, most) => {
        const { norm } = updateOf(FAKE_LAYOUT, received, sent);
        fc.pre(norm > most);
        const clipped = clipUpdate(received, sent, norm, most);
        // Values of up to 100 have steps of 8e-6 in float32.
        expect(Math.abs(updateOf(FAKE_LAYOUT, received, clipped).norm - most)).toBeLessThan(1e-4);
        clipped.forEach((value, at) => {
          const expected = received[at]! + ((sent[at]! - received[at]!) * most) / norm;
          expect(Math.abs(value - expected)).toBeLessThan(1e-5);
        });
      }),
    );
  });
});
