/** Reads data files of any known format, told by their names. */
import { extname } from 'node:path';
import { FltacError } from '../errors.js';
import { readFiles, type ColumnSink, type Columns } from './columns.js';
import { addCsv } from './csv.js';
import { addJsonl } from './jsonl.js';
import { addParquet } from './parquet.js';
import type { Table } from './table.js';

type Add = (path: string, sinks: readonly ColumnSink[]) => Promise<number>;

const READERS: Readonly<Record<string, Add>> = {
  '.parquet': addParquet,
  '.jsonl': addJsonl,
  '.ndjson': addJsonl,
  '.json': addJsonl,
  '.csv': (path, sinks) => addCsv(path, sinks, ','),
  '.tsv': (path, sinks) => addCsv(path, sinks, '\t'),
};

/** The endings of the names of data files, the best first. */
export const DATA_ENDINGS = Object.keys(READERS);

/**
 * Reads the rows of all `paths`, one file after another.
 * @throws USAGE for a file whose name does not tell its format; IO, FORMAT as the format's reader
 */
export async function readTable(paths: readonly string[], columns: Columns): Promise<Table> {
  return readFiles(paths, columns, (path, sinks) => readerOf(path)(path, sinks));
}

function readerOf(path: string): Add {
  const reader = READERS[extname(path).toLowerCase()];
  if (reader) return reader;
  throw new FltacError('USAGE', `${path}: expected a file that ends in ${DATA_ENDINGS.join(', ')}`);
}
