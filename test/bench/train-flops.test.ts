import { describe, expect, it } from 'vitest';
import { encoderShape, encoderStepFlops } from '../../src/bench/train-flops.js';

describe('operations that a training step needs', () => {
  it('of one layer are those counted by hand', () => {
    // h 4, f 8, one sequence of 3 tokens, rank 1; the only layer is first and last: a query, an output and an MLP of one row
    const square = 2 * 4 * 4;
    const mlp = 2 * 2 * 4 * 8;
    const forward = 3 * 2 * square + (2 * square + mlp) + 2 * (2 * 3 * 4);
    const backward = square + mlp + 3 * (2 * 3 * 4);
    const lora = 5 * 2 * 4 * (1 + 3);
    expect(encoderStepFlops({ hidden: 4, intermediate: 8, layers: 1 }, 1, [3])).toBe(forward + backward + lora);
  });

  it('add up over sequences, and grow with layers by a whole one', () => {
    const shape = (layers: number) => ({ hidden: 64, intermediate: 256, layers });
    const flops = (layers: number, lengths: number[]) => encoderStepFlops(shape(layers), 4, lengths);
    expect(flops(3, [5, 9])).toBe(flops(3, [5]) + flops(3, [9]));
    expect(flops(5, [7]) - flops(4, [7])).toBe(flops(4, [7]) - flops(3, [7]));
    // A whole layer between the first and the last: 4 projections and the MLP, forward and backward, of every token.
    const products = 2 * 7 * (4 * 2 * 64 * 64 + 4 * 64 * 256);
    const attention = 12 * 7 * 7 * 64;
    expect(flops(4, [7]) - flops(3, [7])).toBe(products + attention + 6 * 2 * 64 * 4 * 14);
  });

  it("are counted for encoders of BERT's kind only", () => {
    const info = { family: 'bert', hiddenSize: 4, numLayers: 2 };
    const tensors = [{ name: 'encoder.layer.0.intermediate.dense.weight', shape: [8, 4] }];
    expect(encoderShape({ ...info, tensors })).toEqual({ hidden: 4, intermediate: 8, layers: 2 });
    expect(encoderShape({ ...info, tensors: [] })).toBeUndefined();
    expect(encoderShape({ ...info, family: 'vit', tensors })).toBeUndefined();
  });
});
