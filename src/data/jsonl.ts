/** Reads text and label columns of JSON-lines files: one object a line. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { FltacError } from '../errors.js';
import type { Columns } from './parquet.js';
import { TableBuilder, type Table } from './table.js';

type Row = Readonly<Record<string, unknown>>;

/**
 * Reads the rows of all `paths`, one file after another; empty lines are passed over. `choose` says by the first row
 * which columns there are.
 * @throws IO where a file cannot be read; FORMAT naming file and line where a line is not an object, lacks a column,
 * or holds something else than a text or a whole number in it
 */
export async function readJsonl(paths: readonly string[], choose: (first: Row) => Columns): Promise<Table> {
  let columns: Columns | undefined;
  let table = new TableBuilder(0);
  for (const path of paths) {
    let line = 0;
    for await (const text of linesOf(path)) {
      line += 1;
      if (text.trim() === '') continue;
      const row = parseRow(text, path, line);
      if (!columns) {
        columns = choose(row);
        table = new TableBuilder(columns.texts.length);
      }
      addRow(table, row, columns, `${path}:${line}`);
    }
    table.closeFile(path);
  }
  return table.finish();
}

async function* linesOf(path: string): AsyncGenerator<string> {
  try {
    yield* createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity });
  } catch (error) {
    if (error instanceof FltacError) throw error;
    throw new FltacError('IO', `cannot read ${path} (${String(error)})`, { cause: error });
  }
}

function parseRow(text: string, path: string, line: number): Row {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FltacError('FORMAT', `${path}:${line}: expected a JSON object (${String(error)})`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
  throw new FltacError('FORMAT', `${path}:${line}: expected a JSON object, found ${text.slice(0, 40)}`);
}

function addRow(table: TableBuilder, row: Row, columns: Columns, place: string): void {
  for (const [index, name] of columns.texts.entries()) {
    const text = row[name];
    if (typeof text !== 'string') throw badField(place, row, name, 'a text');
    table.texts[index]!.append(text);
  }
  const label = row[columns.label];
  if (typeof label !== 'number' || (label | 0) !== label) throw badField(place, row, columns.label, 'a class number');
  table.labels.push(label);
}

function badField(place: string, row: Row, name: string, expected: string): FltacError {
  const found = name in row ? JSON.stringify(row[name]) : `only ${Object.keys(row).join(', ')}`;
  return new FltacError('FORMAT', `${place}: expected ${expected} in "${name}", found ${found.slice(0, 80)}`);
}
