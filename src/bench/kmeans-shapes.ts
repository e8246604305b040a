/** The problems that `fltac bench kmeans` can measure, by name or spelled out. */
import { FltacError } from '../errors.js';
import { counted } from './counted.js';
import { KMEANS_PRESETS } from './kmeans-presets.js';
import type { KmeansBenchShape } from './kmeans-report.js';

/** What holds where a shape does not say. */
export interface ShapeDefaults {
  nInit: number;
  maxIter: number;
}

const PATTERN = /^(?:(\d+)x)?(\d+)x(\d+)x(\d+)(?::(\d+)(?::(\d+))?)?$/i;
const LARGEST = Number.MAX_SAFE_INTEGER / Float32Array.BYTES_PER_ELEMENT;

/**
 * A list of shapes: names of presets, and `[BATCHx]ROWSxCOLUMNSxK[:STARTS[:ITERATIONS]]`.
 * @throws FltacError USAGE for a word that is neither, listing the presets
 */
export function parseShapes(words: readonly string[], defaults: ShapeDefaults): KmeansBenchShape[] {
  return words.flatMap((word) => KMEANS_PRESETS[word]?.shapes ?? [parseShape(word, defaults)]);
}

function parseShape(word: string, { nInit, maxIter }: ShapeDefaults): KmeansBenchShape {
  const match = PATTERN.exec(word);
  if (!match) {
    const presets = Object.keys(KMEANS_PRESETS).join(', ');
    throw new FltacError(
      'USAGE',
      `--shapes: "${word}" is neither a preset (${presets}) nor a shape like 50x148994x5 or ` +
        '[BATCHx]ROWSxCOLUMNSxK[:STARTS[:ITERATIONS]]',
    );
  }
  const number = (group: number, otherwise: number) => Number(match[group] ?? otherwise);
  const shape = {
    batch: number(1, 1),
    rows: number(2, 1),
    columns: number(3, 1),
    k: number(4, 1),
    nInit: number(5, nInit),
    maxIter: number(6, maxIter),
  };
  for (const [name, value] of Object.entries(shape)) {
    if (value < 1) throw new FltacError('USAGE', `--shapes: ${word} has ${name} ${value}; expected 1 or more`);
  }
  // Where each row may be a cluster of its own the inertia is 0, and inertias cannot be compared.
  if (shape.k >= shape.rows) {
    throw new FltacError(
      'USAGE',
      `--shapes: ${word} asks for ${shape.k} clusters of ${shape.rows} rows; expected fewer clusters than rows`,
    );
  }
  if (shape.batch * shape.rows * shape.columns > LARGEST) {
    throw new FltacError('USAGE', `--shapes: ${word} has more values than can be counted`);
  }
  return shape;
}

/** `50 x 148,994, k 5, 10 starts`; iterations only where they are not scikit-learn's 300. */
export function shapeText({ batch, rows, columns, k, nInit, maxIter }: KmeansBenchShape): string {
  return [
    `${batch > 1 ? `${counted(batch)} of ` : ''}${counted(rows)} x ${counted(columns)}`,
    `k ${counted(k)}`,
    counted(nInit, 'start'),
    ...(maxIter === 300 ? [] : [`at most ${counted(maxIter, 'iteration')}`]),
  ].join(', ');
}
