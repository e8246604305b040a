/** Reads columns of CSV files with a header, as RFC 4180 has them: quotes, line breaks in quotes, LF or CR LF. */
import { createReadStream } from 'node:fs';
import { CsvError, parse, type Info } from 'csv-parse';
import { FltacError, messageOf } from '../errors.js';
import { missingColumns, type ColumnSink } from './columns.js';

interface CsvRow {
  record: Readonly<Record<string, string>>;
  info: Info;
}

/**
 * Reads one file into sinks and tells its rows. Every value is a text; a class may be written as a number.
 * @param separator "," or, for TSV, a tab
 * @throws IO where the file cannot be read; FORMAT naming file and line where a row has more or fewer fields than the
 * header, a quote does not end, a column is missing or twice there, or a value is none of its column's
 */
export async function addCsv(path: string, sinks: readonly ColumnSink[], separator: string): Promise<number> {
  const stream = createReadStream(path);
  const rows = stream.pipe(
    parse({
      bom: true,
      delimiter: separator,
      skip_empty_lines: true,
      info: true,
      columns: (header: string[]) => checkHeader(path, header, sinks),
    }),
  );
  stream.on('error', (error) => rows.destroy(error));
  let count = 0;

  try {
    for await (const { record, info } of rows as AsyncIterable<CsvRow>) {
      for (const sink of sinks) {
        if (sink.accept(record[sink.name], path)) continue;
        const found = JSON.stringify(record[sink.name]);
        throw new FltacError(
          'FORMAT',
          `${path}:${info.lines}: expected ${sink.expected} in "${sink.name}", found ${found}`,
        );
      }
      count += 1;
    }
  } catch (error) {
    throw worded(error, path);
  }
  return count;
}

function checkHeader(path: string, header: readonly string[], sinks: readonly ColumnSink[]): string[] {
  const missing = sinks.filter((sink) => sink.required && !header.includes(sink.name));
  if (missing.length > 0) throw missingColumns(path, missing, header);
  const twice = sinks.find((sink) => header.filter((name) => name === sink.name).length > 1);
  if (twice) throw new FltacError('FORMAT', `${path}: the header names the column "${twice.name}" more than once`);
  return [...header];
}

function worded(error: unknown, path: string): FltacError {
  if (error instanceof FltacError) return error;
  if (error instanceof CsvError) {
    return new FltacError('FORMAT', `${path}: broken CSV file (${error.message})`, { cause: error });
  }
  return new FltacError('IO', `cannot read ${path} (${messageOf(error)})`, { cause: error });
}
