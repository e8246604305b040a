/** Reading YAML 1.2 (core schema) from people: small, flat, and with the place of every mistake. */
import { isUtf8 } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CORE_SCHEMA, EVENT_ID, YAMLException, load, parseEvents, realMapTag } from 'js-yaml';
import { FltacError } from '../errors.js';

/** Configuration files are a page long; more than this is another kind of file. */
const MAX_BYTES = 1024 * 1024;
/** A flat mapping needs none; a few do no harm, while many could grow into more than memory holds. */
const MAX_ALIASES = 16;
const MAX_DEPTH = 20;

/** Characters of what the parser says, which may name a word of any length. */
const LONGEST_REASON = 200;

const SCHEMA = CORE_SCHEMA.withTags(realMapTag);

export interface YamlEntry {
  /** any YAML value: keys of a wrong type are the caller's to report */
  key: unknown;
  value: unknown;
  /** 1 for the first line */
  line: number;
}

/** The entries of a YAML file that holds one mapping. @throws IO, USAGE (naming line and column) */
export function readYamlFile(path: string): YamlEntry[] {
  return parseYamlMapping(readSmallFile(path), path);
}

/** The entries of a YAML text that holds one mapping; `name` stands for it in messages. @throws USAGE */
export function parseYamlMapping(source: string, name: string): YamlEntry[] {
  const value = parse(source, name);
  if (!(value instanceof Map)) {
    throw new FltacError('USAGE', `${name}: expected a mapping of keys to values, found ${describeValue(value)}`);
  }
  const lines = keyLines(source);
  return [...(value as Map<unknown, unknown>)].map(([key, entry], index) => ({
    key,
    value: entry,
    line: lines[index] ?? 1,
  }));
}

/** One YAML value, as after `--override key=`. @throws USAGE */
export function parseYamlValue(source: string, name: string): unknown {
  return source.trim() === '' ? null : parse(source, name);
}

/** A value for messages, shortened: `the text "fast"`, `3`, `a list`, `nothing (null)`. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing (null)';
  if (typeof value === 'string') return `the text ${JSON.stringify(shorten(value))}`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return describeList(value);
  if (typeof value !== 'object') return 'a value of another type';
  const size = value instanceof Map ? value.size : Object.keys(value).length;
  return size === 0 ? 'an empty mapping' : 'a mapping';
}

function describeList(list: readonly unknown[]): string {
  if (list.length === 0) return 'an empty list';
  const shown = list.slice(0, 8).map((item) => (Array.isArray(item) ? '[…]' : scalarText(item)));
  return `the list [${shown.join(', ')}${list.length > 8 ? ', …' : ''}]`;
}

function scalarText(item: unknown): string {
  if (item instanceof Map) return '{…}';
  return shorten(String(item));
}

function shorten(text: string, most = 60): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function parse(source: string, name: string): unknown {
  try {
    const value = load(source, { schema: SCHEMA, maxAliases: MAX_ALIASES, maxDepth: MAX_DEPTH, filename: name });
    if (isEndless(value)) {
      throw new FltacError('USAGE', `${name}: not valid YAML: an alias stands for a value that it is itself a part of`);
    }
    return value;
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const { mark } = error;
    const place = mark === undefined ? name : `${name}:${mark.line + 1}:${mark.column + 1}`;
    throw new FltacError('USAGE', `${place}: not valid YAML: ${shorten(error.reason, LONGEST_REASON)}`, {
      cause: error,
    });
  }
}

/**
 * Whether a value is a part of itself, as aliases can make it.
 *
 * @param around what it is a part of
 * @param ended what is known to end
 */
function isEndless(value: unknown, around = new Set<unknown>(), ended = new Set<unknown>()): boolean {
  if (typeof value !== 'object' || value === null || ended.has(value)) return false;
  if (around.has(value)) return true;
  around.add(value);
  const parts = value instanceof Map ? [...value.keys(), ...value.values()] : Object.values(value);
  const endless = parts.some((part) => isEndless(part, around, ended));
  around.delete(value);
  ended.add(value);
  return endless;
}

/** Line of each key of the top mapping, in the order they stand. */
function keyLines(source: string): number[] {
  const lines: number[] = [];
  let depth = 0; // 1 the document, 2 the top mapping
  let isKey = true; // keys and values take turns in the top mapping
  let line = 1;
  let scanned = 0;
  for (const event of parseEvents(source, { maxDepth: MAX_DEPTH })) {
    if (event.type === EVENT_ID.POP) {
      depth -= 1;
      if (depth === 2) isKey = !isKey;
      continue;
    }
    if (depth === 2 && isKey) {
      const start = event.type === EVENT_ID.SCALAR ? event.valueStart : scanned;
      line += source.slice(scanned, start).split('\n').length - 1;
      scanned = Math.max(scanned, start);
      lines.push(line);
    }
    const opens = event.type !== EVENT_ID.SCALAR && event.type !== EVENT_ID.ALIAS;
    if (opens) depth += 1;
    else if (depth === 2) isKey = !isKey;
  }
  return lines;
}

function readSmallFile(path: string): string {
  let handle: number | undefined;
  try {
    handle = openSync(path, 'r');
    const { size } = fstatSync(handle);
    if (size > MAX_BYTES) {
      throw new FltacError('USAGE', `${path}: expected a configuration of at most ${MAX_BYTES} bytes, found ${size}`);
    }
    // A pipe tells no size: read up to the limit and one byte more.
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    const used = readFully(handle, buffer);
    if (used > MAX_BYTES) {
      throw new FltacError('USAGE', `${path}: expected a configuration of at most ${MAX_BYTES} bytes, found more`);
    }
    if (!isUtf8(buffer.subarray(0, used))) {
      throw new FltacError(
        'USAGE',
        `${path}: expected a configuration in UTF-8, found another encoding: save it as UTF-8`,
      );
    }
    return buffer.toString('utf8', 0, used);
  } catch (error) {
    if (error instanceof FltacError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new FltacError('USAGE', `${path}: the configuration cannot be read: ${reason}`, { cause: error });
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function readFully(handle: number, buffer: Buffer): number {
  let used = 0;
  for (;;) {
    const read = readSync(handle, buffer, used, buffer.length - used, null);
    if (read === 0) return used;
    used += read;
    if (used === buffer.length) return used;
  }
}
