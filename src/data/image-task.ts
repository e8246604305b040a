/** A classification task over images: two tables of encoded images, decoded on demand. */
import { preprocessImages } from '../engine/index.js';
import type { ImagePreprocess, PackedImages } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { decodeImage, type DecodedImage } from './decode-image.js';
import type { ImageInput } from './preprocessor.js';
import type { ScenarioTask } from './scenario.js';
import { checkRows, checkTable, majorityShare, placeOf, type ImageColumn, type Table } from './table.js';

/** Images decoded at once: enough for the threads that decode, few enough that large photographs fit in memory. */
const PARALLEL = 4;
/** Decoded training images that are kept for the rounds to come; all 50,000 of CIFAR take 154 MB. */
const KEPT_BYTES = 160 * 2 ** 20;

export interface ImageTaskOptions {
  name: string;
  numLabels: number;
  train: Table;
  evaluation: Table;
  input: ImageInput;
  /** ends the decoding */
  signal?: AbortSignal | undefined;
}

/** @throws FORMAT where a split is empty or a label is no class */
export function makeImageTask(options: ImageTaskOptions): ScenarioTask<PackedImages> {
  const { name, numLabels, train, evaluation, input, signal } = options;
  for (const table of [train, evaluation]) checkTable(table, name, numLabels);
  const trained = new DecodedTable(train, input, KEPT_BYTES, signal);
  // Evaluation rows are asked for once and kept by who asked.
  const evaluated = new DecodedTable(evaluation, input, 0, signal);
  return {
    name,
    numLabels,
    trainRows: train.rows,
    evalRows: evaluation.rows,
    majorityFloor: majorityShare(evaluation.labels),
    trainExamples: (rows) => trained.images(rows),
    evalExamples: (limit) => {
      const rows = Math.max(0, Math.min(limit, evaluation.rows));
      return evaluated.images(Int32Array.from({ length: rows }, (_, row) => row));
    },
  };
}

/** A table's rows as images; the ones used last are kept decoded, up to `keptBytes`. */
class DecodedTable {
  private readonly column: ImageColumn;
  /** in the order of their last use */
  private readonly kept = new Map<number, DecodedImage>();
  private used = 0;

  constructor(
    private readonly table: Table,
    private readonly input: ImageInput,
    private readonly keptBytes: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    if (!table.images) throw new FltacError('INTERNAL', 'an image task was given a table without images');
    this.column = table.images;
  }

  /** These rows in this order (they may repeat), with their labels. @throws SHAPE for a row that does not exist; FORMAT, ABORTED */
  async images(rows: Int32Array): Promise<PackedImages> {
    checkRows(rows, this.table.rows);
    const decoded = await this.decodeAll(new Set(rows));
    const sizes = new Int32Array(2 * rows.length);
    let bytes = 0;
    for (const [index, row] of rows.entries()) {
      const { height, width, pixels } = decoded.get(row)!;
      sizes.set([height, width], 2 * index);
      bytes += pixels.length;
    }
    const pixels = new Uint8Array(bytes);
    let next = 0;
    for (const row of rows) {
      const image = decoded.get(row)!;
      pixels.set(image.pixels, next);
      next += image.pixels.length;
    }
    const labels = Int32Array.from(rows, (row) => this.table.labels[row]!);
    return { pixels, sizes, labels, preprocess: this.input.preprocess };
  }

  /** A few at a time; the first failure ends it once those under way are done. */
  private async decodeAll(rows: ReadonlySet<number>): Promise<Map<number, DecodedImage>> {
    const decoded = new Map<number, DecodedImage>();
    const queue = rows.values();
    let failed = false;
    const worker = async (): Promise<void> => {
      for (const row of queue) {
        if (failed) return;
        try {
          if (this.signal?.aborted) throw new FltacError('ABORTED', 'stopped while images were decoded');
          decoded.set(row, await this.decode(row));
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return decoded;
  }

  private async decode(row: number): Promise<DecodedImage> {
    const known = this.kept.get(row);
    if (known) {
      this.kept.delete(row);
      this.kept.set(row, known);
      return known;
    }
    const file = placeOf(this.table, row);
    const place = `${file.path}: row ${file.row}`;
    const image = await decodeImage(await this.column.encoded(row), place);
    const { preprocess, exactSize } = this.input;
    if (exactSize && (image.height !== preprocess.height || image.width !== preprocess.width)) {
      throw new FltacError(
        'FORMAT',
        `${place}: the image is ${image.height} x ${image.width}, the model reads ${preprocess.height} x ` +
          `${preprocess.width} and its preprocessor_config.json says do_resize: false`,
      );
    }
    const small = await shrink(image, preprocess);
    this.keep(row, small);
    return small;
  }

  private keep(row: number, image: DecodedImage): void {
    if (this.kept.has(row)) return;
    this.kept.set(row, image);
    this.used += image.pixels.length;
    for (const [oldest, { pixels }] of this.kept) {
      if (this.used <= this.keptBytes) return;
      this.kept.delete(oldest);
      this.used -= pixels.length;
    }
  }
}

/**
 * An image larger than what it will be resized to is resized at once, so that a photograph takes no more memory than any
 * other image. The engine finds it at its size and leaves it: resizing gives bytes, so the result is the same.
 */
async function shrink(image: DecodedImage, how: ImagePreprocess): Promise<DecodedImage> {
  const { height, width } = how.resize ?? how;
  if (image.height * image.width <= height * width) return image;
  const bytes = { height, width, resample: how.resample, rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1] } as const;
  const sizes = Int32Array.of(image.height, image.width);
  const planes = await preprocessImages({ pixels: image.pixels, sizes, preprocess: bytes });
  const area = height * width;
  const pixels = new Uint8Array(planes.length);
  for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) pixels[3 * i + c] = planes[c * area + i]!;
  return { pixels, height, width };
}
