/** Which columns of a data file are wanted, and what takes their values while the file is read. */
import { isUtf8 } from 'node:buffer';
import { dirname, extname, resolve } from 'node:path';
import { FltacError } from '../errors.js';
import { GrowingArray, ImageColumnBuilder, TextColumnBuilder, type Table } from './table.js';

/** The columns of a task, by name. */
export interface Columns {
  /** text columns in the order they are tokenised */
  texts?: readonly string[];
  /** text columns after these, which may be absent or empty: absent ones read as "" */
  optionalTexts?: readonly string[];
  /** column of encoded images, or of the paths of image files relative to the data file */
  image?: string;
  /** column of classes */
  label?: string;
  /** numbers (default): labels are class numbers; names: also texts, numbered in the order they are met */
  labels?: 'numbers' | 'names';
}

/** Takes the values of one column, row by row. */
export interface ColumnSink {
  readonly name: string;
  /** whether every file must have the column */
  readonly required: boolean;
  /** completes "expected …" */
  readonly expected: string;
  /** Keeps a value of `file`; false where it is none of what is expected. */
  accept(value: unknown, file: string): boolean;
}

/** The error of a file that lacks columns. */
export function missingColumns(
  path: string,
  missing: readonly Pick<ColumnSink, 'name'>[],
  found: readonly string[],
): FltacError {
  const wanted = quoted(missing.map(({ name }) => name));
  return new FltacError('FORMAT', `${path}: no column ${wanted}; the file has ${quoted(found) || 'none'}`);
}

/** Names as a message shows them: a file may have any number, of any length. */
function quoted(names: readonly string[]): string {
  const shown = names.slice(0, 20).map((name) => JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name));
  return names.length > shown.length ? `${shown.join(', ')}, …` : shown.join(', ');
}

/** More different names than this are no classes: a wrong column was named. */
const MOST_NAMES = 10_000;

function isText(value: unknown): value is string | Uint8Array {
  return value instanceof Uint8Array ? isUtf8(value) : typeof value === 'string';
}

class TextSink implements ColumnSink {
  readonly expected = 'a text';
  readonly values = new TextColumnBuilder();

  constructor(
    readonly name: string,
    readonly required: boolean,
  ) {}

  accept(value: unknown): boolean {
    const absent = value === null || value === undefined;
    if (absent && this.required) return false;
    if (!absent && !isText(value)) return false;
    this.values.append(absent ? '' : value);
    return true;
  }
}

class ImageSink implements ColumnSink {
  readonly expected = 'an encoded image or the path of one';
  readonly required = true;
  readonly values = new ImageColumnBuilder();

  constructor(readonly name: string) {}

  /**
   * `datasets` writes an image as { bytes, path }. A Parquet file may come from anywhere, and a text in it (a column of
   * logical type JSON gives one) must not name a file of this machine.
   */
  accept(value: unknown, file: string): boolean {
    const content = typeof value === 'object' && value !== null && 'bytes' in value ? value.bytes : value;
    if (content instanceof Uint8Array) this.values.appendBytes(content);
    else if (typeof content === 'string' && content !== '' && extname(file) !== '.parquet')
      this.values.appendPath(resolve(dirname(file), content));
    else return false;
    return true;
  }
}

class NumberSink implements ColumnSink {
  readonly expected = 'a class number';
  readonly required = true;
  readonly values = new GrowingArray((length) => new Int32Array(length));

  constructor(readonly name: string) {}

  accept(value: unknown): boolean {
    const label = typeof value === 'bigint' ? Number(value) : value;
    if (typeof label !== 'number' || (label | 0) !== label) return false;
    this.values.push(label);
    return true;
  }
}

class NameSink implements ColumnSink {
  readonly expected = 'a class: a whole number or a text';
  readonly required = true;
  readonly values = new GrowingArray((length) => new Int32Array(length));
  readonly names = new Map<string, number>();

  constructor(readonly name: string) {}

  accept(value: unknown, file: string): boolean {
    const label = value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
    const whole = typeof label === 'bigint' || (typeof label === 'number' && Number.isSafeInteger(label));
    if (!whole && typeof label !== 'boolean' && (typeof label !== 'string' || label.trim() === '')) return false;
    this.values.push(this.numberOf(String(label), file));
    return true;
  }

  private numberOf(name: string, file: string): number {
    const known = this.names.get(name);
    if (known !== undefined) return known;
    if (this.names.size === MOST_NAMES) {
      const message = `column "${this.name}" holds more than ${MOST_NAMES} different labels: is it the column of classes?`;
      throw new FltacError('FORMAT', `${file}: ${message}`);
    }
    this.names.set(name, this.names.size);
    return this.names.size - 1;
  }
}

/** A table being read from one or several files. */
export class TableBuilder {
  readonly sinks: readonly ColumnSink[];
  private readonly texts: readonly TextSink[];
  private readonly image: ImageSink | undefined;
  private readonly label: NumberSink | NameSink | undefined;
  private readonly sources: { path: string; rows: number }[] = [];

  constructor(columns: Columns) {
    this.texts = [
      ...(columns.texts ?? []).map((name) => new TextSink(name, true)),
      ...(columns.optionalTexts ?? []).map((name) => new TextSink(name, false)),
    ];
    this.image = columns.image === undefined ? undefined : new ImageSink(columns.image);
    const LabelSink = columns.labels === 'names' ? NameSink : NumberSink;
    this.label = columns.label === undefined ? undefined : new LabelSink(columns.label);
    this.sinks = [...this.texts, this.image, this.label].filter((sink) => sink !== undefined);
  }

  /** `rows` were read from the file, and all sinks have their values. */
  closeFile(path: string, rows: number): void {
    this.sources.push({ path, rows });
  }

  finish(): Table {
    return {
      rows: this.sources.reduce((sum, source) => sum + source.rows, 0),
      texts: this.texts.map((sink) => sink.values.finish()),
      ...(this.image && { images: this.image.values.finish() }),
      labels: this.label?.values.finish() ?? new Int32Array(0),
      ...(this.label instanceof NameSink && { labelNames: [...this.label.names.keys()] }),
      sources: this.sources,
    };
  }
}

/** Reads the rows of all `paths`, one file after another; `add` reads a file into the sinks and tells its rows. */
export async function readFiles(
  paths: readonly string[],
  columns: Columns,
  add: (path: string, sinks: readonly ColumnSink[]) => Promise<number>,
): Promise<Table> {
  const table = new TableBuilder(columns);
  for (const path of paths) table.closeFile(path, await add(path, table.sinks));
  return table.finish();
}
