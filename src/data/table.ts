/** Rows of text and labels, held outside the JavaScript heap: one UTF-8 buffer and its offsets a text column. */
import { FltacError } from '../errors.js';

const decoder = new TextDecoder();

/** A column of texts: text i is the UTF-8 bytes[offsets[i]] up to bytes[offsets[i + 1]]. */
export class TextColumn {
  constructor(
    private readonly bytes: Uint8Array,
    /** length + 1 entries; float64, so that a column may pass 4 GiB */
    private readonly offsets: Float64Array,
  ) {}

  get length(): number {
    return this.offsets.length - 1;
  }

  /** @throws SHAPE where there is no such row */
  get(row: number): string {
    const start = this.offsets[row];
    const end = this.offsets[row + 1];
    if (start === undefined || end === undefined) throw noRow(row, this.length);
    return decoder.decode(this.bytes.subarray(start, end));
  }
}

/** @throws SHAPE naming the first of `asked` that is none of `rows` rows */
export function checkRows(asked: Int32Array, rows: number): void {
  const wrong = asked.find((row) => row < 0 || row >= rows);
  if (wrong !== undefined) throw noRow(wrong, rows);
}

function noRow(row: number, rows: number): FltacError {
  return new FltacError('SHAPE', `row ${row} was asked for, the table has rows 0 to ${rows - 1}`);
}

/** Collects the texts of a column. */
export class TextColumnBuilder {
  private bytes = Buffer.alloc(0);
  private used = 0;
  private readonly offsets = new GrowingArray((length) => new Float64Array(length));

  constructor() {
    this.offsets.push(0);
  }

  /** Adds one text, given as UTF-8 bytes (copied) or as a string. */
  append(text: Uint8Array | string): void {
    const source = typeof text === 'string' ? Buffer.from(text, 'utf8') : text;
    if (this.used + source.length > this.bytes.length) this.grow(this.used + source.length);
    this.bytes.set(source, this.used);
    this.used += source.length;
    this.offsets.push(this.used);
  }

  finish(): TextColumn {
    return new TextColumn(Buffer.from(this.bytes.subarray(0, this.used)), this.offsets.finish());
  }

  private grow(least: number): void {
    const larger = Buffer.alloc(Math.max(least, this.bytes.length * 2, 1 << 16));
    larger.set(this.bytes.subarray(0, this.used));
    this.bytes = larger;
  }
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
  /** the task's text columns (one, or two for pairs), in the order they are tokenised */
  texts: readonly TextColumn[];
  /** class of each row */
  labels: Int32Array;
  /** the files the rows came from, in order */
  sources: readonly { path: string; rows: number }[];
}

/** Columns of a table being read from one or several files. */
export class TableBuilder {
  readonly texts: readonly TextColumnBuilder[];
  readonly labels = new GrowingArray((length) => new Int32Array(length));
  private readonly sources: { path: string; rows: number }[] = [];

  constructor(textColumns: number) {
    this.texts = Array.from({ length: textColumns }, () => new TextColumnBuilder());
  }

  /** Rows added since the last file was closed belong to this one. */
  closeFile(path: string): void {
    const before = this.sources.reduce((sum, source) => sum + source.rows, 0);
    this.sources.push({ path, rows: this.labels.length - before });
  }

  finish(): Table {
    const labels = this.labels.finish();
    return { rows: labels.length, texts: this.texts.map((text) => text.finish()), labels, sources: this.sources };
  }
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
function placeOf(table: Table, row: number): { path: string; row: number } {
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
