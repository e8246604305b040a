/** Reads the text and label columns of local Parquet files, a row group and a column at a time. */
import { open, type FileHandle } from 'node:fs/promises';
import { parquetMetadataAsync, parquetRead, parquetSchema, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FltacError } from '../errors.js';
import { TableBuilder, type Table } from './table.js';

/** The columns of a task. */
export interface Columns {
  /** text columns in the order they are tokenised */
  texts: readonly string[];
  label: string;
}

const MAGIC = 'PAR1';
/** magic, footer length and magic again: no Parquet file is shorter */
const SHORTEST = 12;

/**
 * Reads the rows of all `paths`, one file after another.
 * @throws IO where a file cannot be read; FORMAT where it is cut off or broken, lacks a column (those found are named),
 * or holds an empty text or a label that is no whole number
 */
export async function readParquet(paths: readonly string[], columns: Columns): Promise<Table> {
  const table = new TableBuilder(columns.texts.length);
  for (const path of paths) {
    await readFile(path, columns, table);
    table.closeFile(path);
  }
  return table.finish();
}

async function readFile(path: string, columns: Columns, table: TableBuilder): Promise<void> {
  const file = await open(path).catch((error: unknown) => {
    throw new FltacError('IO', `cannot read ${path} (${String(error)})`, { cause: error });
  });
  try {
    const { size } = await file.stat();
    await checkMagic(file, path, size);
    const buffer = bufferOf(file, path, size);
    const metadata = await decoding(path, 'its footer', () => parquetMetadataAsync(buffer));
    checkColumns(path, metadata, columns);
    for (const range of groupRanges(path, metadata)) await readGroup(buffer, metadata, columns, table, range);
  } finally {
    await file.close();
  }
}

/** Says "cut off" and "no Parquet file" apart, which the decoder does not. */
async function checkMagic(file: FileHandle, path: string, size: number): Promise<void> {
  const head = await readAt(file, 0, Math.min(4, size));
  const tail = await readAt(file, Math.max(0, size - 4), size);
  if (size >= SHORTEST && head === MAGIC && tail === MAGIC) return;
  const found =
    head === MAGIC
      ? `it begins as one but its last 4 bytes (of ${size}) are not "${MAGIC}": it is cut off; download or copy it again`
      : `its first 4 bytes are ${JSON.stringify(head)}, not "${MAGIC}" (${size} bytes in all)`;
  throw new FltacError('FORMAT', `${path}: expected a Parquet file, but ${found}`);
}

async function readAt(file: FileHandle, start: number, end: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
  return buffer.toString('latin1', 0, bytesRead);
}

/** The file as the decoder wants it. */
function bufferOf(file: FileHandle, path: string, size: number): AsyncBuffer {
  const slice = async (start: number, end = size): Promise<ArrayBuffer> => {
    if (!(start >= 0 && start <= end && end <= size)) {
      throw new Error(`it points at bytes ${start} to ${end}, the file has ${size}`);
    }
    const target = new ArrayBuffer(end - start);
    if (end === start) return target;
    const { bytesRead } = await file.read(new Uint8Array(target), 0, end - start, start);
    if (bytesRead !== end - start) throw new FltacError('IO', `${path}: shorter than when it was opened`);
    return target;
  };
  return {
    byteLength: size,
    slice(start, end) {
      const bytes = slice(start, end);
      // hyparquet fetches ahead and may fail before it looks at the result: that must not become an unhandled rejection.
      bytes.catch(() => undefined);
      return bytes;
    },
  };
}

function checkColumns(path: string, metadata: FileMetaData, columns: Columns): void {
  const children = parquetSchema(metadata).children;
  const found = children.map((child) => child.element.name);
  const wanted = [...columns.texts, columns.label];
  const missing = wanted.filter((name) => !found.includes(name));
  if (missing.length === 0) return;
  throw new FltacError(
    'FORMAT',
    `${path}: no column ${missing.map((name) => `"${name}"`).join(', ')}; the file has ${found.map((name) => `"${name}"`).join(', ')}`,
  );
}

interface GroupRange {
  path: string;
  group: number;
  /** rows within the file */
  start: number;
  end: number;
}

function groupRanges(path: string, metadata: FileMetaData): GroupRange[] {
  const ranges: GroupRange[] = [];
  let start = 0;
  for (const [group, { num_rows }] of metadata.row_groups.entries()) {
    const end = start + Number(num_rows);
    ranges.push({ path, group, start, end });
    start = end;
  }
  if (start !== Number(metadata.num_rows) || ranges.some((range) => range.end < range.start)) {
    throw new FltacError('FORMAT', `${path}: its row groups have ${start} rows, its footer says ${metadata.num_rows}`);
  }
  return ranges;
}

async function readGroup(
  buffer: AsyncBuffer,
  metadata: FileMetaData,
  columns: Columns,
  table: TableBuilder,
  range: GroupRange,
): Promise<void> {
  const { path } = range;
  for (const [index, name] of columns.texts.entries()) {
    const texts = table.texts[index]!;
    await eachValue(buffer, metadata, name, range, (value, row) => {
      if (!(value instanceof Uint8Array)) throw badValue(path, row, name, 'a text', value);
      texts.append(value);
    });
  }
  await eachValue(buffer, metadata, columns.label, range, (value, row) => {
    const label = typeof value === 'bigint' ? Number(value) : value;
    if (typeof label !== 'number' || (label | 0) !== label) {
      throw badValue(path, row, columns.label, 'a class number', value);
    }
    table.labels.push(label);
  });
}

/** Calls `use` with every value of one column of one row group, in order, and its row in the file. */
async function eachValue(
  file: AsyncBuffer,
  metadata: FileMetaData,
  column: string,
  range: GroupRange,
  use: (value: unknown, row: number) => void,
): Promise<void> {
  const { path, group, start, end } = range;
  // Used only after the read: what a callback throws inside hyparquet becomes an unhandled rejection.
  const pages: ArrayLike<unknown>[] = [];
  await decoding(path, `column "${column}" of row group ${group}`, () =>
    parquetRead({
      file,
      metadata,
      columns: [column],
      rowStart: start,
      rowEnd: end,
      compressors,
      // Texts stay bytes: decoded, they would fill the JavaScript heap with strings that are mostly never asked for.
      parsers: { stringFromBytes: (bytes: Uint8Array) => bytes },
      onChunk: ({ columnData }) => pages.push(columnData),
    }),
  );
  let next = start;
  for (const page of pages) for (let i = 0; i < page.length; i++) use(page[i], next++);
  if (next === end) return;
  throw new FltacError(
    'FORMAT',
    `${path}: column "${column}" of row group ${group} has ${next - start} values, the footer says ${end - start}`,
  );
}

function badValue(path: string, row: number, column: string, expected: string, value: unknown): FltacError {
  const simple = ['string', 'number', 'bigint', 'boolean'].includes(typeof value);
  const found = simple ? String(value) : `a value of type ${typeof value}`;
  const shown = value === null || value === undefined ? 'nothing' : found;
  return new FltacError('FORMAT', `${path}: row ${row}, column "${column}": expected ${expected}, found ${shown}`);
}

/** Runs a step of the decoder and says where a broken file broke it. */
async function decoding<T>(path: string, what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof FltacError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new FltacError('FORMAT', `${path}: broken Parquet file, ${what} cannot be read (${reason})`, {
      cause: error,
    });
  }
}
