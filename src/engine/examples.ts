/** Telling the two forms of examples apart. */
import { FltacError } from '../errors.js';
import type { EvaluateResult, Examples, PackedImages, PackedSequences } from './types.js';

export function isSequences(examples: Examples): examples is PackedSequences {
  return 'ids' in examples;
}

/** @throws INTERNAL for images */
export function asSequences(examples: Examples): PackedSequences {
  if (isSequences(examples)) return examples;
  throw new FltacError('INTERNAL', 'token sequences were expected, found images');
}

/** @throws INTERNAL for token sequences */
export function asImages(examples: Examples): PackedImages {
  if (!isSequences(examples)) return examples;
  throw new FltacError('INTERNAL', 'images were expected, found token sequences');
}

/** Number of examples. */
export function exampleCount(examples: Examples): number {
  return isSequences(examples) ? examples.offsets.length - 1 : examples.labels.length;
}

/** Sequences in another order, and where each stood: sequence i was number order[i]. */
export interface Reordered<E extends Examples> {
  examples: E;
  order: Int32Array;
}

/**
 * The same sequences from the shortest to the longest, so that a batch holds sequences of like length, which a device
 * that fills its attention up to a batch's longest needs. Images stay as they are.
 */
export function sortByLength<E extends Examples>(examples: E): Reordered<E> {
  const count = exampleCount(examples);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  if (!isSequences(examples)) return { examples, order };
  const { offsets } = examples;
  const length = (i: number) => offsets[i + 1]! - offsets[i]!;
  order.sort((a, b) => length(a) - length(b) || a - b);
  return { examples: takeSequences(examples, order) as E, order };
}

/** These sequences in this order. */
function takeSequences({ ids, offsets, labels, typeIds }: PackedSequences, order: Int32Array): PackedSequences {
  const places = new Int32Array(order.length + 1);
  for (const [i, from] of order.entries()) places[i + 1] = places[i]! + offsets[from + 1]! - offsets[from]!;
  const tokens = <T extends Int32Array | Uint8Array>(values: T, taken: T): T => {
    for (const [i, from] of order.entries()) taken.set(values.subarray(offsets[from], offsets[from + 1]), places[i]);
    return taken;
  };
  // A language model has a label for each token, a classifier one for each sequence.
  const perToken = labels.length === ids.length;
  return {
    ids: tokens(ids, new Int32Array(ids.length)),
    offsets: places,
    labels: perToken ? tokens(labels, new Int32Array(ids.length)) : order.map((from) => labels[from]!),
    ...(typeIds && { typeIds: tokens(typeIds, new Uint8Array(ids.length)) }),
  };
}

/** An evaluation of reordered examples, in the order in which they stood before. */
export function inFormerOrder(result: EvaluateResult, order: Int32Array): EvaluateResult {
  const classes = order.length === 0 ? 0 : result.logits.length / order.length;
  const logits = new Float32Array(result.logits.length);
  const exampleLosses = new Float64Array(order.length);
  const exampleTargets = new Int32Array(order.length);
  for (const [i, place] of order.entries()) {
    logits.set(result.logits.subarray(i * classes, (i + 1) * classes), place * classes);
    exampleLosses[place] = result.exampleLosses[i]!;
    exampleTargets[place] = result.exampleTargets[i]!;
  }
  return { ...result, logits, exampleLosses, exampleTargets };
}
