/** Reads columns of local Parquet files, a row group and a column at a time. */
import { open, type FileHandle } from 'node:fs/promises';
import { parquetMetadataAsync, parquetRead, parquetSchema, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FltacError } from '../errors.js';
import { missingColumns, readFiles, type ColumnSink, type Columns } from './columns.js';
import type { Table } from './table.js';

const MAGIC = 'PAR1';
/** magic, footer length and magic again: no Parquet file is shorter */
const SHORTEST = 12;

/**
 * Reads the rows of all `paths`, one file after another.
 * @throws IO where a file cannot be read; FORMAT where it is cut off or broken, lacks a column (those found are named),
 * or holds a value that is none of the column's
 */
export async function readParquet(paths: readonly string[], columns: Columns): Promise<Table> {
  return readFiles(paths, columns, addParquet);
}

/** Reads one file into sinks and tells its rows. @throws as readParquet */
export async function addParquet(path: string, sinks: readonly ColumnSink[]): Promise<number> {
  const file = await open(path).catch((error: unknown) => {
    throw new FltacError('IO', `cannot read ${path} (${String(error)})`, { cause: error });
  });
  try {
    const { size } = await file.stat();
    await checkMagic(file, path, size);
    const buffer = bufferOf(file, path, size);
    const metadata = await decoding(path, 'its footer', () => parquetMetadataAsync(buffer));
    const present = checkColumns(path, metadata, sinks);
    const ranges = groupRanges(path, metadata);
    for (const range of ranges) {
      for (const sink of sinks) {
        if (present.has(sink.name)) await readColumn(buffer, metadata, sink, range);
        else for (let row = range.start; row < range.end; row++) sink.accept(undefined, path);
      }
    }
    return ranges.at(-1)?.end ?? 0;
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

/** Names of the file's columns. @throws FORMAT where a required one is missing */
function checkColumns(path: string, metadata: FileMetaData, sinks: readonly ColumnSink[]): Set<string> {
  const found = parquetSchema(metadata).children.map((child) => child.element.name);
  const missing = sinks.filter((sink) => sink.required && !found.includes(sink.name));
  if (missing.length === 0) return new Set(found);
  throw missingColumns(path, missing, found);
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

async function readColumn(
  file: AsyncBuffer,
  metadata: FileMetaData,
  sink: ColumnSink,
  range: GroupRange,
): Promise<void> {
  await eachValue(file, metadata, sink.name, range, (value, row) => {
    if (!sink.accept(value, range.path)) throw badValue(range.path, row, sink.name, sink.expected, value);
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
