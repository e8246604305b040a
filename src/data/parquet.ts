/** Reads columns of local Parquet files, a row group and a column at a time. */
import { isUtf8 } from 'node:buffer';
import { open, type FileHandle } from 'node:fs/promises';
import {
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  type SchemaTree,
} from 'hyparquet';
import { FltacError } from '../errors.js';
import { oneLine } from '../net/retry.js';
import { missingColumns, readFiles, type ColumnSink, type Columns } from './columns.js';
import { Expansion } from './expansion.js';
import { checkPages } from './parquet-pages.js';
import type { Table } from './table.js';

const MAGIC = 'PAR1';
/** magic, footer length and magic again: no Parquet file is shorter */
const SHORTEST = 12;
/** A footer takes some hundred bytes for each column of each row group. */
const MOST_FOOTER_BYTES = 64 * 1024 * 1024;
/** A row group is decoded as a whole, at about 100 bytes of JavaScript heap a row; writers make groups of a million. */
const MOST_GROUP_ROWS = 10_000_000;

/**
 * Reads the rows of all `paths`, one file after another.
 * @throws IO where a file cannot be read; FORMAT where it is cut off or broken, lacks a column (those found are named),
 * holds a value that is none of the column's, or is made to grow beyond bounds (expansion.ts)
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
    // Of geometry, too, nothing but its bytes is wanted.
    const metadata = await decoding(path, 'its footer', () => parquetMetadataAsync(buffer, { geoparquet: false }));
    const present = await decoding(path, 'its schema', () => checkColumns(path, metadata, sinks));
    const source: Source = { path, file: buffer, metadata, expansion: new Expansion(path, size) };
    const ranges = groupRanges(path, metadata);
    for (const range of ranges) {
      for (const sink of sinks) await readColumn(source, sink, range, present.has(sink.name));
    }
    return ranges.at(-1)?.end ?? 0;
  } finally {
    await file.close();
  }
}

/** Says "cut off" and "no Parquet file" apart, which the decoder does not, and holds the footer's length to a limit. */
async function checkMagic(file: FileHandle, path: string, size: number): Promise<void> {
  const head = await readAt(file, 0, Math.min(4, size));
  const tail = await readAt(file, Math.max(0, size - 4), size);
  if (size >= SHORTEST && head === MAGIC && tail === MAGIC) {
    const footer = Buffer.from(await readAt(file, size - 8, size - 4), 'latin1').readUInt32LE();
    if (footer <= MOST_FOOTER_BYTES) return;
    const limit = `a footer of at most ${MOST_FOOTER_BYTES}`;
    throw new FltacError('FORMAT', `${path}: expected ${limit} bytes, found one of ${footer}`);
  }
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
  const columns = parquetSchema(metadata).children;
  const found = columns.map((child) => child.element.name);
  for (const { name, expected } of sinks) {
    if (!columns.some((column) => column.element.name === name && holdsLists(column))) continue;
    throw new FltacError('FORMAT', `${path}: column "${name}": expected ${expected} in each row, found lists`);
  }
  const missing = sinks.filter((sink) => sink.required && !found.includes(sink.name));
  if (missing.length === 0) return new Set(found);
  throw missingColumns(path, missing, found);
}

function holdsLists({ element, children }: SchemaTree): boolean {
  return element.repetition_type === 'REPEATED' || children.some(holdsLists);
}

/** A file being read. */
interface Source {
  path: string;
  file: AsyncBuffer;
  metadata: FileMetaData;
  expansion: Expansion;
}

interface GroupRange {
  group: number;
  /** rows within the file */
  start: number;
  end: number;
}

function groupRanges(path: string, metadata: FileMetaData): GroupRange[] {
  const ranges: GroupRange[] = [];
  let start = 0;
  for (const [group, { num_rows }] of metadata.row_groups.entries()) {
    const rows = Number(num_rows);
    if (!(rows >= 0 && rows <= MOST_GROUP_ROWS)) {
      const found = `row group ${group} has ${num_rows} rows`;
      throw new FltacError('FORMAT', `${path}: ${found}; at most ${MOST_GROUP_ROWS} are taken: write smaller groups`);
    }
    const end = start + rows;
    ranges.push({ group, start, end });
    start = end;
  }
  if (start !== Number(metadata.num_rows)) {
    throw new FltacError('FORMAT', `${path}: its row groups have ${start} rows, its footer says ${metadata.num_rows}`);
  }
  return ranges;
}

async function readColumn(source: Source, sink: ColumnSink, range: GroupRange, isPresent: boolean): Promise<void> {
  const { path, expansion } = source;
  if (!isPresent) {
    for (let row = range.start; row < range.end; row++) {
      expansion.add(1);
      sink.accept(undefined, path);
    }
    return;
  }
  await eachValue(source, sink.name, range, (value, row) => {
    expansion.add(sizeOf(value));
    if (!sink.accept(value, path)) throw badValue(path, row, sink.name, sink.expected, value);
  });
}

/** About what keeping a value takes. */
function sizeOf(value: unknown): number {
  const content = typeof value === 'object' && value !== null && 'bytes' in value ? value.bytes : value;
  return content instanceof Uint8Array ? content.length : 8;
}

/** Calls `use` with every value of one column of one row group, in order, and its row in the file. */
async function eachValue(
  source: Source,
  column: string,
  range: GroupRange,
  use: (value: unknown, row: number) => void,
): Promise<void> {
  const { path, file, metadata } = source;
  const { group, start, end } = range;
  // Used only after the read: what a callback throws inside hyparquet becomes an unhandled rejection.
  const pages: ArrayLike<unknown>[] = [];
  await decoding(path, `column "${column}" of row group ${group}`, async () =>
    parquetRead({
      file,
      metadata,
      columns: [column],
      rowStart: start,
      rowEnd: end,
      compressors: await checkedPages(source, column, range),
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

/** Checks the pages of a column, all its parts; the "decompressors" give what the check has decompressed. */
async function checkedPages(source: Source, column: string, { group, start, end }: GroupRange): Promise<Compressors> {
  const { file, metadata, expansion } = source;
  const schema = parquetSchema(metadata);
  const found: ReturnType<typeof checkPages>[] = [];
  const codecs = new Set<string>();
  for (const { meta_data: part } of metadata.row_groups[group]!.columns) {
    if (part?.path_in_schema[0] !== column) continue;
    const from = Number(part.dictionary_page_offset || part.data_page_offset);
    const bytes = new Uint8Array(await file.slice(from, from + Number(part.total_compressed_size)));
    found.push(checkPages(bytes, part, schema, end - start, (size) => expansion.add(size)));
    codecs.add(part.codec);
  }
  const pageOf = (compressed: Uint8Array): Uint8Array => {
    for (const find of found) {
      const page = find(compressed);
      if (page) return page;
    }
    throw new Error('a page that was not checked');
  };
  return Object.fromEntries([...codecs].map((codec) => [codec, pageOf]));
}

function badValue(path: string, row: number, column: string, expected: string, value: unknown): FltacError {
  return new FltacError(
    'FORMAT',
    `${path}: row ${row}, column "${column}": expected ${expected}, found ${describe(value)}`,
  );
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (value instanceof Uint8Array) return isUtf8(value) ? 'a text' : 'bytes that are not UTF-8';
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return oneLine(`${value}`);
  return typeof value === 'bigint' ? `${value}` : `a value of type ${typeof value}`;
}

/** Runs a step of the decoder and says where a broken file broke it. */
async function decoding<T>(path: string, what: string, step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof FltacError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new FltacError('FORMAT', `${path}: broken Parquet file, ${what} cannot be read (${oneLine(reason)})`, {
      cause: error,
    });
  }
}
