/** Reading single option values; a wrong one ends as a usage error that names the option. */
import { InvalidArgumentError, Option } from 'commander';
import type { Format } from './io.js';

/** A parser of whole numbers from `min` up. */
export function integerFrom(min: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`Expected an integer, ${min} or more.`);
  };
}

/** `a,b` as a list of names. */
export function nameList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => name !== '')) return names;
  throw new InvalidArgumentError('Expected names with commas between them.');
}

/** --format text|json */
export function formatOption(): Option {
  return new Option('--format <format>', 'how results are printed').choices(['text', 'json']).default('text');
}

export interface FormatOptions {
  format: Format;
}
