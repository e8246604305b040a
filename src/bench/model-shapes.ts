/** The published dimensions that `fltac bench train --shape` can take. */
import { FltacError } from '../errors.js';

export interface BertShape {
  hidden: number;
  layers: number;
  heads: number;
  intermediate: number;
}

/** BERT's, by name. */
export const MODEL_SHAPES: Readonly<Record<string, BertShape>> = {
  'bert-base': { hidden: 768, layers: 12, heads: 12, intermediate: 3072 },
  'bert-large': { hidden: 1024, layers: 24, heads: 16, intermediate: 4096 },
  minilm: { hidden: 384, layers: 6, heads: 12, intermediate: 1536 },
};

/** @throws FltacError USAGE naming the shapes there are */
export function shapeNamed(name: string): BertShape {
  const shape = MODEL_SHAPES[name];
  if (shape !== undefined) return shape;
  throw new FltacError('USAGE', `--shape: expected one of ${Object.keys(MODEL_SHAPES).join(', ')}, found ${name}`);
}
