/** How many floating-point operations training LoRA on a classifying encoder needs. */
import type { ArchitectureInfo } from '../engine/types.js';

export interface EncoderShape {
  hidden: number;
  intermediate: number;
  layers: number;
}

/** Sizes of a BERT-like encoder; undefined for a backbone whose operations are not counted here. */
export function encoderShape(info: Pick<ArchitectureInfo, 'family' | 'hiddenSize' | 'numLayers' | 'tensors'>) {
  const mlp = info.tensors.find(({ name }) => /\.0\.(intermediate\.dense|ffn\.lin1)\.weight$/.test(name));
  const intermediate = mlp?.shape[0];
  if (!['bert', 'roberta', 'distilbert'].includes(info.family) || intermediate === undefined) return undefined;
  return { hidden: info.hiddenSize, intermediate, layers: info.numLayers } satisfies EncoderShape;
}

/**
 * Multiplications and additions of one training step with LoRA on query and value and a loss over the class token: every
 * product once, forward and for the gradient of its input, and LoRA's own. Left out is what does not reach the loss or a
 * trained value: padding, gradients of frozen weights, in the last layer all but the class token's query, output and MLP,
 * and in the first the input gradients of frozen products and the gradient of the keys. Left out too are the head, and
 * everything that is no product.
 *
 * @param lengths real tokens of each sequence of the batch
 */
export function encoderStepFlops(
  { hidden, intermediate, layers }: EncoderShape,
  rank: number,
  lengths: readonly number[],
): number {
  const square = 2 * hidden * hidden;
  const mlp = 4 * hidden * intermediate;
  const lora = 2 * hidden * rank;
  let flops = 0;
  for (const tokens of lengths) {
    for (let layer = 0; layer < layers; layer += 1) {
      // Rows that queries, the attention's output and the MLP are needed of.
      const rows = layer === layers - 1 ? 1 : tokens;
      const first = layer === 0;
      const forward = 2 * tokens * square + rows * (2 * square + mlp) + 4 * rows * tokens * hidden;
      // Of attention: dV, dP, dQ and, where there is something below, dK.
      const attention = (first ? 6 : 8) * rows * tokens * hidden;
      const backward = rows * (square + mlp) + (first ? 0 : 2 * tokens * square + rows * square);
      // Of each target: A x, B u forward; dB, du, dA and, where there is something below, dx backward.
      const adapters = (first ? 5 : 6) * lora * (rows + tokens);
      flops += forward + attention + backward + adapters;
    }
  }
  return flops;
}
