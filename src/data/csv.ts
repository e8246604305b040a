/** Reads columns of CSV files with a header, as RFC 4180 has them: quotes, line breaks in quotes, LF or CR LF. */
import { createReadStream } from 'node:fs';
import { Transform } from 'node:stream';
import { CsvError, parse, type Info } from 'csv-parse';
import { FltacError, messageOf } from '../errors.js';
import { oneLine } from '../net/retry.js';
import { missingColumns, type ColumnSink } from './columns.js';
import { MOST_LINE_BYTES, notUtf8 } from './lines.js';

interface CsvRow {
  record: Readonly<Record<string, string>>;
  info: Info;
}

/**
 * Reads one file into sinks and tells its rows. Every value is a text; a class may be written as a number.
 * @param separator "," or, for TSV, a tab
 * @throws IO where the file cannot be read; FORMAT naming file and line where a row has more or fewer fields than the
 * header, a quote does not end, a row is longer than a text can be, a column is missing or twice there, a value is none of
 * its column's, or the text is not UTF-8
 */
export async function addCsv(path: string, sinks: readonly ColumnSink[], separator: string): Promise<number> {
  const stream = createReadStream(path);
  const texts = utf8Texts(path);
  const rows = parse({
    bom: true,
    delimiter: separator,
    skip_empty_lines: true,
    info: true,
    // A quote that never ends would take the whole file into one text.
    max_record_size: MOST_LINE_BYTES,
    columns: (header: string[]) => checkHeader(path, header, sinks),
  });
  stream.on('error', (error) => texts.destroy(error));
  texts.on('error', (error) => rows.destroy(error));
  stream.pipe(texts).pipe(rows);
  let count = 0;

  try {
    for await (const { record, info } of rows as AsyncIterable<CsvRow>) {
      for (const sink of sinks) {
        if (sink.accept(record[sink.name], path)) continue;
        const found = oneLine(JSON.stringify(record[sink.name]));
        throw new FltacError(
          'FORMAT',
          `${path}:${info.lines}: expected ${sink.expected} in "${sink.name}", found ${found}`,
        );
      }
      count += 1;
    }
  } catch (error) {
    throw worded(error, path);
  } finally {
    // What ends in the middle of the file would leave it open.
    stream.destroy();
  }
  return count;
}

/** Bytes to texts, which csv-parse would do itself, but with a replacement for every byte that is none. */
function utf8Texts(path: string): Transform {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (bytes: Buffer | undefined, done: (error: Error | null, text?: string) => void): void => {
    let text: string;
    try {
      text = decoder.decode(bytes, { stream: bytes !== undefined });
    } catch {
      done(notUtf8(path));
      return;
    }
    done(null, text);
  };
  return new Transform({
    decodeStrings: false,
    transform: (bytes: Buffer, _encoding, done) => decode(bytes, done),
    flush: (done) => decode(undefined, done),
  });
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
    return new FltacError('FORMAT', `${path}: broken CSV file (${oneLine(error.message)})`, { cause: error });
  }
  return new FltacError('IO', `cannot read ${path} (${messageOf(error)})`, { cause: error });
}
