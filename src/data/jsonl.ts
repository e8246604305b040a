/** Reads JSON-lines files: one object a line. */
import { FltacError } from '../errors.js';
import { linesOf } from './lines.js';
import type { Columns } from './parquet.js';
import { TableBuilder, type Table } from './table.js';

export type JsonRow = Readonly<Record<string, unknown>>;

/**
 * The objects of a file with their places (`path:line`, from 1); empty lines are passed over.
 * @throws IO where the file cannot be read; FORMAT naming file and line where a line is not an object
 */
export async function* readObjects(path: string): AsyncGenerator<{ row: JsonRow; place: string }> {
  let line = 0;
  for await (const text of linesOf(path)) {
    line += 1;
    const place = `${path}:${line}`;
    if (text.trim() !== '') yield { row: parseRow(text, place), place };
  }
}

/** A text of a row. @throws FORMAT naming the place where it is absent or something else */
export function textOf(row: JsonRow, name: string, place: string): string {
  const text = row[name];
  if (typeof text === 'string') return text;
  throw badField(place, row, name, 'a text');
}

/**
 * Reads the rows of all `paths`, one file after another; empty lines are passed over. `choose` says by the first row
 * which columns there are.
 * @throws IO where a file cannot be read; FORMAT naming file and line where a line is not an object, lacks a column,
 * or holds something else than a text or a whole number in it
 */
export async function readJsonl(paths: readonly string[], choose: (first: JsonRow) => Columns): Promise<Table> {
  let columns: Columns | undefined;
  let table = new TableBuilder(0);
  for (const path of paths) {
    for await (const { row, place } of readObjects(path)) {
      if (!columns) {
        columns = choose(row);
        table = new TableBuilder(columns.texts.length);
      }
      addRow(table, row, columns, place);
    }
    table.closeFile(path);
  }
  return table.finish();
}

function parseRow(text: string, place: string): JsonRow {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FltacError('FORMAT', `${place}: expected a JSON object (${String(error)})`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonRow;
  throw new FltacError('FORMAT', `${place}: expected a JSON object, found ${text.slice(0, 40)}`);
}

function addRow(table: TableBuilder, row: JsonRow, columns: Columns, place: string): void {
  for (const [index, name] of columns.texts.entries()) table.texts[index]!.append(textOf(row, name, place));
  const label = row[columns.label];
  if (typeof label !== 'number' || (label | 0) !== label) throw badField(place, row, columns.label, 'a class number');
  table.labels.push(label);
}

function badField(place: string, row: JsonRow, name: string, expected: string): FltacError {
  const found = name in row ? JSON.stringify(row[name]) : `only ${Object.keys(row).join(', ')}`;
  return new FltacError('FORMAT', `${place}: expected ${expected} in "${name}", found ${found.slice(0, 80)}`);
}
