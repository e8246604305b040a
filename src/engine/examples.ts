/** Telling the two forms of examples apart. */
import { FltacError } from '../errors.js';
import type { Examples, PackedImages, PackedSequences } from './types.js';

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
