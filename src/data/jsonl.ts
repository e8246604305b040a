/** Reads JSON-lines files: one object a line. */
import { FltacError } from '../errors.js';
import { linesOf } from './lines.js';
import { TableBuilder, type ColumnSink, type Columns } from './columns.js';
import type { Table } from './table.js';

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
 * or holds a value that is none of the column's
 */
export async function readJsonl(paths: readonly string[], choose: (first: JsonRow) => Columns): Promise<Table> {
  const sources: { path: string; rows: number }[] = [];
  let table: TableBuilder | undefined;
  for (const path of paths) {
    let rows = 0;
    for await (const { row, place } of readObjects(path)) {
      table ??= new TableBuilder(choose(row));
      for (const sink of table.sinks) addField(sink, row, path, place);
      rows += 1;
    }
    sources.push({ path, rows });
  }
  table ??= new TableBuilder({});
  for (const { path, rows } of sources) table.closeFile(path, rows);
  return table.finish();
}

/** Reads one file into sinks and tells its rows. @throws as readJsonl */
export async function addJsonl(path: string, sinks: readonly ColumnSink[]): Promise<number> {
  let rows = 0;
  for await (const { row, place } of readObjects(path)) {
    for (const sink of sinks) addField(sink, row, path, place);
    rows += 1;
  }
  return rows;
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

function addField(sink: ColumnSink, row: JsonRow, path: string, place: string): void {
  if (!sink.accept(row[sink.name], path)) throw badField(place, row, sink.name, sink.expected);
}

function badField(place: string, row: JsonRow, name: string, expected: string): FltacError {
  const found = name in row ? describe(row[name]) : `only ${Object.keys(row).join(', ')}`;
  return new FltacError('FORMAT', `${place}: expected ${expected} in "${name}", found ${found.slice(0, 80)}`);
}

/** Lists and objects by their kind alone: writing out what is nested deep enough would overflow the stack. */
function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}
