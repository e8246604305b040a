/** From labels as data files have them to class numbers 0 up to n - 1. */
import type { CustomTask } from '../config/custom-tasks.js';
import { FltacError } from '../errors.js';
import { placeOf, type Table } from './table.js';

/** A task's classes, and how a label is found among them. */
export interface Classes {
  count: number;
  /** names by number; undefined where classes are numbers alone */
  names?: readonly string[];
}

/**
 * The classes of a task: those that are listed, else the numbers up to the largest in the training rows where all
 * labels there are numbers, else the different names there in sorted order.
 *
 * A label that is listed by name is that class; where none is, labels are numbers of the listed classes.
 * @throws FORMAT where the training rows have fewer than two classes, or numbers of which some are negative: -1 marks rows
 * whose label is kept back, and would become a class of its own
 */
export function classesOf(task: string, listed: CustomTask['classes'], train: Table): Classes {
  if (typeof listed === 'number') return { count: listed };
  if (listed !== undefined) return { count: listed.length, names: listed.map(String) };
  const found = train.labelNames ?? [];
  checkNegative(task, train, found);
  const numbers = found.every(isNumber);
  const count = numbers ? Math.max(-1, ...found.map(Number)) + 1 : found.length;
  if (count < 2) {
    const files = train.sources.map(({ path }) => path).join(', ');
    const only = found.length === 0 ? 'no label' : `the label "${found.join('", "')}" alone`;
    throw new FltacError('FORMAT', `task ${task}: expected two classes or more, found ${only} in ${files}`);
  }
  return numbers ? { count } : { count, names: [...found].sort(byCodeUnits) };
}

/** A table whose labels are class numbers. @throws FORMAT naming file and row of a label that is no class */
export function numberLabels(task: string, table: Table, classes: Classes): Table {
  const found = table.labelNames ?? [];
  const byName = new Map((classes.names ?? []).map((name, number) => [name, number]));
  const named = found.some((label) => byName.has(label));
  const numbers = found.map((label) => {
    if (named) return byName.get(label) ?? -1;
    return isNumber(label) && Number(label) < classes.count ? Number(label) : -1;
  });
  const wrong = table.labels.findIndex((label) => numbers[label] === -1);
  if (wrong >= 0) {
    const { path, row } = placeOf(table, wrong);
    const names = classes.names ? `${some(classes.names)} (or 0 to ${classes.count - 1})` : `0 to ${classes.count - 1}`;
    throw new FltacError(
      'FORMAT',
      `${path}: row ${row} has label "${found[table.labels[wrong]!]!}"; task ${task} has the classes ${names}`,
    );
  }
  const numbered = { ...table, labels: table.labels.map((label) => numbers[label]!) };
  delete numbered.labelNames;
  return numbered;
}

function checkNegative(task: string, train: Table, found: readonly string[]): void {
  const wrong = found.findIndex((label) => /^-\d+$/.test(label));
  if (wrong < 0 || !found.every((label) => /^-?\d+$/.test(label))) return;
  const { path, row } = placeOf(train, train.labels.indexOf(wrong));
  throw new FltacError(
    'FORMAT',
    `${path}: row ${row} has label ${found[wrong]!} (as rows without a label have); task ${task} needs labels from 0 up: ` +
      'leave such rows out, or list all labels under classes',
  );
}

function isNumber(label: string): boolean {
  return /^(0|[1-9]\d{0,3})$/.test(label);
}

/** As Python's sorted() for most names; the same on every machine, which a locale's order is not. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function some(names: readonly string[]): string {
  return names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
}
