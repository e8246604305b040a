/** Rows of a data set, held outside the JavaScript heap: one buffer and its offsets a column of texts or images. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { FltacError, messageOf } from '../errors.js';

const decoder = new TextDecoder();

/** A column of byte strings: value i is bytes[offsets[i]] up to bytes[offsets[i + 1]]. */
export class ByteColumn {
  constructor(
    protected readonly content: Uint8Array,
    /** length + 1 entries; float64, so that a column may pass 4 GiB */
    protected readonly offsets: Float64Array,
  ) {}

  get length(): number {
    return this.offsets.length - 1;
  }

  /** A view of a value. @throws SHAPE where there is no such row */
  bytes(row: number): Uint8Array {
    const start = this.offsets[row];
    const end = this.offsets[row + 1];
    if (start === undefined || end === undefined) throw noRow(row, this.length);
    return this.content.subarray(start, end);
  }
}

/** Texts, wherever they are kept. */
export interface Texts {
  readonly length: number;
  /** @throws SHAPE where there is no such row */
  get(row: number): string;
  /** a hash of all texts in their order */
  digest(): string;
}

/** A column of UTF-8 texts. */
export class TextColumn extends ByteColumn implements Texts {
  /** @throws SHAPE where there is no such row */
  get(row: number): string {
    return decoder.decode(this.bytes(row));
  }

  digest(): string {
    return sha256(this.offsets, this.content);
  }
}

/** Of the values' bytes, one after another. */
function sha256(...values: readonly (Uint8Array | Float64Array | Int32Array | string)[]): string {
  const hash = createHash('sha256');
  for (const value of values) hash.update(value);
  return hash.digest('hex');
}

/** @throws SHAPE naming the first of `asked` that is none of `rows` rows */
export function checkRows(asked: Int32Array, rows: number): void {
  const wrong = asked.find((row) => row < 0 || row >= rows);
  if (wrong !== undefined) throw noRow(wrong, rows);
}

function noRow(row: number, rows: number): FltacError {
  return new FltacError('SHAPE', `row ${row} was asked for, the table has rows 0 to ${rows - 1}`);
}

/** Collects the values of a column. */
class ByteColumnBuilder {
  private content: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  private used = 0;
  private readonly offsets = new GrowingArray((length) => new Float64Array(length));

  constructor() {
    this.offsets.push(0);
  }

  get length(): number {
    return this.offsets.length - 1;
  }

  /** Adds one value, which is copied; a string as UTF-8. */
  append(value: Uint8Array | string): void {
    const source = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    if (this.used + source.length > this.content.length) this.grow(this.used + source.length);
    this.content.set(source, this.used);
    this.used += source.length;
    this.offsets.push(this.used);
  }

  /** The part of the buffer that was never written to takes no memory, so nothing is copied. */
  protected parts(): [Uint8Array, Float64Array] {
    return [this.content.subarray(0, this.used), this.offsets.finish()];
  }

  private grow(least: number): void {
    let larger: Uint8Array<ArrayBuffer>;
    try {
      larger = new Uint8Array(Math.max(least, this.content.length * 2, 1 << 16));
    } catch (cause) {
      const message = `a column of more than ${least} bytes cannot be held (${messageOf(cause)}): use fewer rows`;
      throw new FltacError('OUT_OF_MEMORY', message, { cause });
    }
    larger.set(this.content.subarray(0, this.used));
    this.content = larger;
  }
}

/** Collects the texts of a column. */
export class TextColumnBuilder extends ByteColumnBuilder {
  finish(): TextColumn {
    return new TextColumn(...this.parts());
  }
}

/** Encoded images, wherever they are. */
export interface ImageColumn {
  readonly length: number;
  /** The bytes of one image file. @throws SHAPE where there is no such row, IO where its file cannot be read */
  encoded(row: number): Promise<Uint8Array>;
}

/** Collects images: their bytes, or the paths of their files, which are read when they are asked for. */
export class ImageColumnBuilder {
  private readonly values = new TextColumnBuilder();
  private readonly isPath = new GrowingArray((length) => new Uint8Array(length));

  appendBytes(encoded: Uint8Array): void {
    this.values.append(encoded);
    this.isPath.push(0);
  }

  appendPath(path: string): void {
    this.values.append(path);
    this.isPath.push(1);
  }

  finish(): ImageColumn {
    const values = this.values.finish();
    const isPath = this.isPath.finish();
    return {
      length: values.length,
      encoded: async (row) => (isPath[row] === 1 ? readImageFile(values.get(row)) : values.bytes(row)),
    };
  }
}

async function readImageFile(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: unknown) => {
    throw new FltacError('IO', `the image ${path} cannot be read (${messageOf(cause)})`, { cause });
  });
}

/** A typed array that grows by doubling. */
export class GrowingArray<T extends Float64Array | Int32Array | Uint8Array> {
  private values: T;
  length = 0;

  constructor(private readonly make: (length: number) => T) {
    this.values = make(1024);
  }

  push(value: number): void {
    this.reserve(1);
    this.values[this.length++] = value;
  }

  pushAll(values: ArrayLike<number>): void {
    this.reserve(values.length);
    this.values.set(values, this.length);
    this.length += values.length;
  }

  /** Values `start` up to `end`, without copying; valid until the next push. */
  view(start: number, end: number): T {
    return this.values.subarray(start, end) as T;
  }

  /** A copy of exact length. */
  finish(): T {
    return this.values.slice(0, this.length) as T;
  }

  private reserve(more: number): void {
    if (this.length + more <= this.values.length) return;
    const larger = this.make(Math.max(this.length + more, this.values.length * 2));
    larger.set(this.values.subarray(0, this.length));
    this.values = larger;
  }
}

/** One split of a task. */
export interface Table {
  /** number of rows */
  rows: number;
  /** the task's text columns, in the order they are tokenised */
  texts: readonly Texts[];
  /** the task's images, where it has some */
  images?: ImageColumn;
  /** class of each row; empty where the task has no classes */
  labels: Int32Array;
  /** where labels were read as names: labels are places in this list, in the order they were met */
  labelNames?: readonly string[];
  /** the files the rows came from, in order */
  sources: readonly { path: string; rows: number }[];
  /** where the table holds some rows of the files only: which ones */
  selected?: Int32Array;
}

/** These rows of a table, in this order; nothing is copied but the labels. */
export function selectTable(table: Table, rows: Int32Array): Table {
  const { images } = table;
  return {
    rows: rows.length,
    texts: table.texts.map((texts) => ({
      length: rows.length,
      get: (row) => texts.get(rows[row] ?? -1),
      digest: () => sha256(texts.digest(), rows),
    })),
    ...(images && { images: { length: rows.length, encoded: (row) => images.encoded(rows[row] ?? -1) } }),
    labels: table.labels.length === 0 ? table.labels : rows.map((row) => table.labels[row]!),
    ...(table.labelNames && { labelNames: table.labelNames }),
    sources: table.sources,
    selected: rows.map((row) => table.selected?.[row] ?? row),
  };
}

/**
 * Checks that a table can be trained or evaluated on: it has rows, and every label is a class.
 * @throws FORMAT naming file and row
 */
export function checkTable(table: Table, task: string, numLabels: number): void {
  if (table.rows === 0) {
    const files = table.sources.map((source) => source.path).join(', ');
    throw new FltacError('FORMAT', `task ${task}: ${files || 'no file'} holds no rows, at least 1 is needed`);
  }
  const wrong = table.labels.findIndex((label) => label < 0 || label >= numLabels);
  if (wrong < 0) return;
  const { path, row } = placeOf(table, wrong);
  const label = table.labels[wrong] ?? NaN;
  const why = label === -1 ? ' (-1 marks unlabelled rows, as in GLUE test splits)' : '';
  throw new FltacError(
    'FORMAT',
    `${path}: row ${row} has label ${label}${why}; task ${task} has the labels 0 to ${numLabels - 1}`,
  );
}

/** The file a row came from, and its number there, from 0. */
export function placeOf(table: Table, at: number): { path: string; row: number } {
  const row = table.selected?.[at] ?? at;
  let first = 0;
  for (const source of table.sources) {
    if (row < first + source.rows) return { path: source.path, row: row - first };
    first += source.rows;
  }
  throw new FltacError('INTERNAL', `row ${row} lies in none of the table's files`);
}

/** Share of the most frequent label: what always answering it scores. */
export function majorityShare(labels: Int32Array): number {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Math.max(...counts.values()) / labels.length;
}
