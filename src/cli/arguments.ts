/** Reading single option values; a wrong one ends as a usage error that names the option. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Fault } from '../config/faults.js';
import type { Format } from './io.js';

/** A parser of whole numbers from `min` up. */
export function integerFrom(min: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`Expected an integer, ${min} or more.`);
  };
}

/** A parser of numbers from `min` up, or from just above `above`, to `max`. */
export function numberWithin(range: { min?: number; above?: number; max?: number }): (text: string) => number {
  const { min = -Infinity, above = -Infinity, max = Infinity } = range;
  const bounds = [
    ...(range.min === undefined ? [] : [`${min} or more`]),
    ...(range.above === undefined ? [] : [`above ${above}`]),
    ...(range.max === undefined ? [] : [`at most ${max}`]),
  ];
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    if (Number.isFinite(value) && value >= min && value > above && value <= max) return value;
    throw new InvalidArgumentError(`Expected a number, ${bounds.join(' and ')}.`);
  };
}

/** `a,b` as a list of names. */
export function nameList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => name !== '')) return names;
  throw new InvalidArgumentError('Expected names with commas between them.');
}

/** `0,2` as a list of whole numbers from 0 up. */
export function integerList(text: string): number[] {
  const numbers = text.split(',').map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : NaN));
  if (numbers.every((value) => Number.isSafeInteger(value))) return numbers;
  throw new InvalidArgumentError('Expected integers from 0 up with commas between them.');
}

/** --format text|json */
export function formatOption(): Option {
  return new Option('--format <format>', 'how results are printed').choices(['text', 'json']).default('text');
}

export interface FormatOptions {
  format: Format;
}

/** Has wrong values of a command's options become faults in the list that is returned, instead of the end. */
export function gatherValues(command: Command): Fault[] {
  const faults: Fault[] = [];
  for (const option of command.options) gatherValue(option, faults);
  return faults;
}

function gatherValue(option: Option, faults: Fault[]): void {
  const { parseArg } = option;
  if (!parseArg) return;
  option.argParser((text: string, previous: unknown): unknown => {
    try {
      return parseArg(text, previous);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      const message = error.message.replace(/^[A-Z]/, (letter) => letter.toLowerCase()).replace(/\.$/, '');
      faults.push({ origin: `${option.long ?? option.flags} ${text}`, message });
      return text;
    }
  });
}

/** A command as it is called: "fltac bench kmeans". */
export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
