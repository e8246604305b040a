/** The kinds of value a config key can have: what is accepted, and how to say so to a person. */
import { z } from 'zod';

/** How the text of a flag or an override becomes a value: as YAML, as it stands, as a list with commas, as a mapping. */
export type Reading = 'yaml' | 'text' | 'list' | 'mapping';

export interface Kind<T> {
  readonly type: z.ZodType<T>;
  /** completes "expected …" */
  readonly expected: string;
  /** stands for the value in `--help` */
  readonly placeholder: string;
  readonly reading: Reading;
  /** every fault of a value that has parts; absent: `expected` says all there is to say */
  readonly faults?: (value: unknown) => string[];
  /** the words a value is chosen from, where it is */
  readonly words?: readonly string[];
}

interface Range {
  min?: number;
  max?: number;
  /** exclusive bounds */
  above?: number;
  below?: number;
}

/** A whole number within JavaScript's exact range. */
export function integer(range: Range): Kind<number> {
  const type = bounded(z.int(), range);
  return { type, expected: `an integer${rangeText(range)}`, placeholder: 'integer', reading: 'yaml' };
}

/** A finite number. */
export function number(range: Range): Kind<number> {
  const type = bounded(z.number(), range);
  return { type, expected: `a number${rangeText(range)}`, placeholder: 'number', reading: 'yaml' };
}

/** Like `number`, or null for none. */
export function optionalNumber(range: Range): Kind<number | null> {
  const expected = `a number${rangeText(range)}, or null for none`;
  return { type: bounded(z.number(), range).nullable(), expected, placeholder: 'number', reading: 'yaml' };
}

export function boolean(): Kind<boolean> {
  return { type: z.boolean(), expected: 'true or false', placeholder: 'true|false', reading: 'yaml' };
}

/** Text that is not blank; `what` says what it names. */
export function text(what: string, placeholder: string): Kind<string> {
  return { type: filledText(), expected: what, placeholder, reading: 'text' };
}

/** Like `text`, or null for none. */
export function optionalText(what: string, placeholder: string): Kind<string | null> {
  return { type: filledText().nullable(), expected: `${what}, or null for none`, placeholder, reading: 'text' };
}

/** One of some words. */
export function oneOf<const W extends string>(words: readonly W[]): Kind<W> {
  const expected = words.length === 1 ? words.join('') : `one of ${words.join(', ')}`;
  return { type: z.enum(words), expected, placeholder: 'name', reading: 'text', words };
}

/** A whole number or the word auto. */
export function integerOrAuto(range: Range): Kind<number | 'auto'> {
  return integerOr(['auto'], range);
}

/** A whole number or one of some words. */
export function integerOr<const W extends string>(words: readonly W[], range: Range): Kind<number | W> {
  return {
    type: z.union([bounded(z.int(), range), z.enum(words)]),
    expected: `an integer${rangeText(range)}, or ${words.join(' or ')}`,
    placeholder: ['integer', ...words].join('|'),
    reading: 'yaml',
    words,
  };
}

/** A share of something above 0 and below 1, a number of it from 1 on, or all. */
export function shareOrCount(): Kind<number | 'all'> {
  return {
    type: z.union([bounded(z.number(), { above: 0, below: 1 }), bounded(z.int(), { min: 1 }), z.enum(['all'])]),
    expected: 'a share above 0 and below 1, an integer of 1 or more, or all',
    placeholder: 'share|integer|all',
    reading: 'yaml',
    words: ['all'],
  };
}

/** A list of different names, at least one. */
export function names(what: string): Kind<readonly string[]> {
  return {
    type: z
      .array(filledText())
      .min(1)
      .refine((list) => new Set(list).size === list.length)
      .readonly(),
    expected: `a list of ${what}, at least one and each once`,
    placeholder: 'name,…',
    reading: 'list',
  };
}

/** A mapping of names to texts, or null for none; `what` says of what to what. */
export function optionalMapping(what: string): Kind<Readonly<Record<string, string>> | null> {
  return {
    type: z.record(z.string(), z.string()).readonly().nullable(),
    expected: `${what}, or null for none`,
    placeholder: 'mapping',
    reading: 'mapping',
  };
}

/** Text of a form. */
export function matching(what: string, form: RegExp, words: readonly string[]): Kind<string> {
  return { type: z.string().regex(form), expected: what, placeholder: 'name', reading: 'text', words };
}

function filledText(): z.ZodString {
  return z.string().regex(/\S/);
}

function bounded(type: z.ZodNumber, range: Range): z.ZodNumber {
  let bound: z.ZodNumber = type;
  if (range.min !== undefined) bound = bound.min(range.min);
  if (range.max !== undefined) bound = bound.max(range.max);
  if (range.above !== undefined) bound = bound.gt(range.above);
  if (range.below !== undefined) bound = bound.lt(range.below);
  return bound;
}

function rangeText({ min, max, above, below }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined && below !== undefined) return ` from ${min} to below ${below}`;
  if (min !== undefined) return `, ${min} or more`;
  return above === undefined ? '' : ` above ${above}`;
}
