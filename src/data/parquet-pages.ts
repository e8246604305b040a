/**
 * Checks the pages of a Parquet column before they are decoded.
 *
 * hyparquet believes what pages say of themselves: a run-length code of five bytes grows its arrays to a billion values,
 * which ends the process. Here every page's header, size and runs are held against the rows that the footer promises,
 * and the decompressed pages are handed on, so that nothing is decompressed twice.
 * Format: https://github.com/apache/parquet-format (Thrift compact protocol, README.md, Encodings.md).
 */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { ColumnMetaData, Compressors, SchemaTree } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { decompress as decompressZstd } from 'fzstd';
import { readStruct, type Struct } from './thrift.js';

/** Pages are about a megabyte; a value that is larger (an image) makes its page as large. */
const MOST_PAGE_BYTES = 256 * 1024 * 1024;

/** Decompressors that give no more than `length` bytes, whatever the input says. */
const DECOMPRESS: Compressors = {
  SNAPPY: compressors.SNAPPY!,
  LZ4: compressors.LZ4!,
  LZ4_RAW: compressors.LZ4_RAW!,
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  ZSTD: (input, length) => decompressZstd(input, new Uint8Array(length)),
};

type Codec = keyof Compressors;

/** What a column's schema says that its pages must fit. */
interface Levels {
  /** optional parts on the way to the values: the largest definition level */
  definition: number;
}

/** One page as its header describes it. */
interface Page {
  kind: 'dictionary' | 'data' | 'data 2';
  values: number;
  encoding: number;
  body: Uint8Array;
  /** bytes of the body once decompressed, without the levels of a version 2 page */
  size: number;
  compressed: boolean;
  /** bytes of levels before the values in a version 2 page, which are not compressed */
  levelBytes: number;
  nulls: number;
}

const DICTIONARY_PAGE = 2;
const DATA_PAGE = 0;
const DATA_PAGE_2 = 3;
const ENCODING = { plain: 0, plainDictionary: 2, rle: 3, deltaByteArray: 7, rleDictionary: 8 } as const;

/**
 * Checks a column chunk (all bytes of its pages) that is to hold `rows` values, and gives a decompressor that knows its
 * pages. `onBytes` is told of each page's size before it is decompressed, and may throw.
 * @throws Error saying what is wrong
 */
export function checkPages(
  chunk: Uint8Array,
  column: ColumnMetaData,
  schema: SchemaTree,
  rows: number,
  onBytes: (bytes: number) => void,
): (compressed: Uint8Array) => Uint8Array | undefined {
  const levels = levelsOf(schema, column.path_in_schema);
  const pages: { compressed: Uint8Array; page: Uint8Array }[] = [];
  let values = 0;
  // hyparquet reads a part of a structure to the chunk's end, a plain column until it has its rows.
  const isPart = column.path_in_schema.length > 1;
  for (let at = 0; isPart ? at < chunk.length - 1 : values < rows && at < chunk.length;) {
    const { page, end } = readPage(chunk, at);
    at = end;
    if (page.kind !== 'dictionary') values += page.values;
    if (values > rows) throw new Error(`its pages hold ${values} values and more, the footer says ${rows}`);
    onBytes(page.size);
    const compressed = page.body.subarray(page.levelBytes);
    const content = contentOf(page, compressed, column.codec);
    if (content !== compressed) pages.push({ compressed, page: content });
    checkContent(page, content, column.type === 'BOOLEAN', levels);
  }
  if (values !== rows) throw new Error(`its pages hold ${values} values, the footer says ${rows}`);
  return (compressed) => {
    const next = pages[0];
    if (next === undefined || Buffer.compare(next.compressed, compressed) !== 0) return undefined;
    pages.shift();
    return next.page;
  };
}

/** @throws Error for lists and maps, of which no column of a task is one */
function levelsOf(schema: SchemaTree, path: readonly string[]): Levels {
  let tree = schema;
  let definition = 0;
  for (const name of path) {
    const child = tree.children.find((candidate) => candidate.element.name === name);
    if (!child) throw new Error(`its schema has no ${path.join('.')}`);
    tree = child;
    if (tree.element.repetition_type === 'REPEATED') throw new Error('it holds lists');
    if (tree.element.repetition_type !== 'REQUIRED') definition += 1;
  }
  if (tree.children.length > 0) throw new Error(`its schema has no values at ${path.join('.')}`);
  return { definition };
}

function readPage(chunk: Uint8Array, at: number): { page: Page; end: number } {
  const { struct, end: start } = readStruct(chunk, at);
  const kind = integer(struct, 1, 'type');
  const size = integer(struct, 2, 'uncompressed size');
  const length = integer(struct, 3, 'compressed size');
  if (length > chunk.length - start) throw new Error(`a page of ${length} bytes reaches beyond its column`);
  if (size > MOST_PAGE_BYTES) throw new Error(`a page of ${size} bytes; at most ${MOST_PAGE_BYTES} are taken`);
  const body = chunk.subarray(start, start + length);
  const page = describePage(kind, struct, size, body);
  if (page.kind === 'dictionary' && page.values > size) {
    throw new Error(`a dictionary of ${page.values} values in ${size} bytes`);
  }
  return { page, end: start + length };
}

function describePage(kind: number, struct: Struct, size: number, body: Uint8Array): Page {
  const common = { body, size, compressed: true, levelBytes: 0, nulls: 0 };
  if (kind === DICTIONARY_PAGE) {
    return { ...common, kind: 'dictionary', values: integer(inner(struct, 7), 1, 'values'), encoding: ENCODING.plain };
  }
  if (kind === DATA_PAGE) {
    const header = inner(struct, 5);
    return { ...common, kind: 'data', values: integer(header, 1, 'values'), encoding: integer(header, 2, 'encoding') };
  }
  if (kind !== DATA_PAGE_2) throw new Error(`a page of type ${kind}`);
  const header = inner(struct, 8);
  const repetition = integer(header, 6, 'level bytes');
  const levelBytes = integer(header, 5, 'level bytes') + repetition;
  if (repetition > 0) throw new Error('it holds lists');
  if (levelBytes > body.length || levelBytes > size)
    throw new Error(`levels of ${levelBytes} bytes in a page of ${size}`);
  const values = integer(header, 1, 'values');
  const nulls = integer(header, 2, 'nulls');
  if (nulls > values || integer(header, 3, 'rows') !== values) throw new Error('a page whose counts do not agree');
  return {
    body,
    kind: 'data 2',
    values,
    nulls,
    encoding: integer(header, 4, 'encoding'),
    size: size - levelBytes,
    compressed: header.get(7) !== false,
    levelBytes,
  };
}

function contentOf(page: Page, compressed: Uint8Array, codec: string): Uint8Array {
  if (!page.compressed || codec === 'UNCOMPRESSED') {
    if (compressed.length !== page.size) throw new Error(`a page of ${compressed.length} bytes, expected ${page.size}`);
    return compressed;
  }
  const decompress = DECOMPRESS[codec as Codec];
  if (!decompress) throw new Error(`its compression ${codec} is not read`);
  const content = decompress(compressed, page.size);
  if (content.length === page.size) return content;
  throw new Error(`a page decompresses to ${content.length} bytes, expected ${page.size}`);
}

/** Holds the runs of levels and of places in the dictionary against the number of values. */
function checkContent(page: Page, content: Uint8Array, isBoolean: boolean, { definition }: Levels): void {
  if (page.kind === 'dictionary') return;
  let at = 0;
  let present = page.values - page.nulls;
  if (definition > 0) {
    const width = 32 - Math.clz32(definition);
    const levels = page.kind === 'data' ? prefixed(content, 0) : page.body.subarray(0, page.levelBytes);
    const found = countRuns(levels, width, page.values, definition);
    if (page.kind === 'data') present = found;
    else if (found !== present) throw new Error(`a page with ${found} values that says it has ${present}`);
    at = page.kind === 'data' ? 4 + levels.length : 0;
  }
  if (page.encoding === ENCODING.deltaByteArray) {
    // Each value may take up the whole one before it: a page of a megabyte could stand for terabytes.
    throw new Error('texts are in DELTA_BYTE_ARRAY encoding, which is not read: write them plain or with a dictionary');
  }
  const isDictionary = page.encoding === ENCODING.plainDictionary || page.encoding === ENCODING.rleDictionary;
  if (!isDictionary && page.encoding !== ENCODING.rle) return;
  // As hyparquet reads them: booleans have a width of 1 and no byte that says so.
  if (isBoolean) return void countRuns(prefixed(content, at), 1, present);
  const width = content[at];
  if (width === undefined) throw new Error('a page ends before its values');
  if (width > 32) throw new Error(`places in a dictionary of ${width} bits`);
  if (width > 0) countRuns(content.subarray(at + 1), width, present);
}

/** Bytes after their own length in four bytes. */
function prefixed(content: Uint8Array, at: number): Uint8Array {
  if (at + 4 > content.length) throw new Error('a page ends before its levels');
  const length = new DataView(content.buffer, content.byteOffset).getUint32(at, true);
  if (length > content.length - at - 4) throw new Error(`levels of ${length} bytes reach beyond their page`);
  return content.subarray(at + 4, at + 4 + length);
}

/**
 * Walks runs (RLE / bit-packing hybrid) of `width` bits until `values` have been met, and counts those equal to `wanted`.
 * A bit-packed run is filled up to eight values; one of equal values must end where the page's values end.
 */
function countRuns(bytes: Uint8Array, width: number, values: number, wanted = 0): number {
  let at = 0;
  let seen = 0;
  let found = 0;
  while (seen < values) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error(`a page ends after ${seen} of ${values} values`);
      if (shift > 28) throw new Error('a run whose length takes more than 5 bytes');
      header += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    const count = Math.floor(header / 2);
    if (header % 2 === 0) {
      if (count > values - seen) throw new Error(`a run of ${count} values in a page with ${values - seen} left`);
      let value = 0;
      for (let i = 0; i < Math.ceil(width / 8); i++) value += (bytes[at++] ?? 0) * 256 ** i;
      if (value === wanted) found += count;
      seen += count;
    } else {
      const taken = Math.min(count * 8, values - seen);
      found += countPacked(bytes, at, width, taken, wanted);
      at += count * width;
      seen += taken;
    }
  }
  return found;
}

function countPacked(bytes: Uint8Array, at: number, width: number, values: number, wanted: number): number {
  if (at * 8 + values * width > bytes.length * 8) throw new Error('a page ends within a run');
  // Only levels are counted, whose width is small.
  if (width > 8) return 0;
  let found = 0;
  for (let i = 0; i < values; i++) {
    const bit = i * width;
    const byte = at + (bit >> 3);
    const pair = bytes[byte]! | ((bytes[byte + 1] ?? 0) << 8);
    if (((pair >> (bit & 7)) & ((1 << width) - 1)) === wanted) found += 1;
  }
  return found;
}

function integer(struct: Struct, field: number, what: string): number {
  const value = struct.get(field);
  if (typeof value === 'number' && value >= 0) return value;
  throw new Error(`a page with ${typeof value === 'number' ? value : 'nothing'} as its ${what}`);
}

function inner(struct: Struct, field: number): Struct {
  const value = struct.get(field);
  if (value instanceof Map) return value;
  throw new Error('a page without the header of its type');
}
