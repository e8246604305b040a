/**
 * From what the user gave to one resolved configuration. Precedence: named flags, then --override, then the file, then
 * the scenario's defaults, then the common ones. Every fault of every source is reported in one error.
 */
import { isDeepStrictEqual } from 'node:util';
import { FltacError } from '../errors.js';
import type { Fault } from './faults.js';
import { throwFaults } from './faults.js';
import type { Kind } from './kinds.js';
import { packagedFile } from './packaged.js';
import { RULES, WITHOUT_EFFECT } from './rules.js';
import type { Rule } from './rules.js';
import type { ScenarioChoice } from './scenarios.js';
import { CONFIG_KEYS, camelName, defaultOf, flagName, isConfigKey, keyRow } from './schema.js';
import type { ConfigKey, RunConfig } from './schema.js';
import { didYouMean, nearest } from '../suggest.js';
import { describeValue, parseYamlValue, readYamlFile } from './yaml.js';

/** Where values come from; all optional. */
export interface ConfigSources {
  /** path of a YAML file; configs/… may be one of the package's */
  file?: string | undefined;
  /** `key=value` texts of --override, later ones winning */
  overrides?: readonly string[];
  /** `key=value` texts that win over those, each with what the user wrote it in */
  ownOverrides?: readonly { readonly text: string; readonly origin: string }[];
  /** texts of the named flags */
  flags?: Readonly<Partial<Record<ConfigKey, string>>>;
  /** flags and words that the command does not take; reported with the other faults */
  unknownFlags?: readonly string[];
  /** what is wrong with the command's other flags; reported with the other faults */
  faults?: readonly Fault[];
  /** the command, for the hint at its help: "fltac train" */
  command?: string | undefined;
  /** the flags that the command has, for suggestions */
  knownFlags?: readonly string[];
  /** default: process.env */
  env?: NodeJS.ProcessEnv;
}

export interface LoadedConfig {
  config: RunConfig;
  /** keys that the user gave, and where */
  given: ReadonlyMap<ConfigKey, string>;
  /** settings that have no effect, and a file that was taken from the package, for the log */
  warnings: readonly string[];
}

interface Given {
  key: ConfigKey;
  value: unknown;
  origin: string;
}

/** All that the user gave, in order; what cannot be a value is a fault already. */
type Collected = (Given | Fault)[];

const hint = (command = 'fltac <command>') => `All keys: docs/configuration.md; the flags: ${command} --help`;

/** @throws USAGE naming every fault at once; IO never: an unreadable file is a wrong argument */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const file = sources.file === undefined ? undefined : packagedFile(sources.file);
  const loaded = resolve(collect({ ...sources, file }), sources.env ?? process.env, sources.command);
  if (file === sources.file) return loaded;
  const taken = `there is no ${sources.file} here: ${file} is taken, which comes with fltac`;
  return { ...loaded, warnings: [taken, ...loaded.warnings] };
}

/** A configuration from TypeScript values: `makeConfig({ scenario: 'glue', nClients: 3 })`. @throws USAGE */
export function makeConfig(values: Partial<RunConfig>, env: NodeJS.ProcessEnv = process.env): RunConfig {
  const byCamel = new Map(CONFIG_KEYS.map((key) => [camelName(key) as string, key]));
  const collected = Object.entries(values).map(([origin, value]): Given | Fault => {
    const key = byCamel.get(origin);
    if (key !== undefined) return { key, value, origin };
    return { origin, message: `is not a config key${didYouMean(origin, byCamel.keys())}` };
  });
  return resolve(collected, env).config;
}

function collect(sources: ConfigSources): Collected {
  return [
    ...(sources.file === undefined ? [] : fromFile(sources.file)),
    ...(sources.overrides ?? []).map((text) => fromOverride({ text, origin: `--override ${text}` })),
    ...(sources.ownOverrides ?? []).map(fromOverride),
    ...fromFlags(sources),
  ];
}

function fromFile(path: string): Collected {
  return readYamlFile(path).map(({ key, value, line }) => {
    const origin = `${path}:${line}`;
    if (typeof key !== 'string') return { origin, message: `expected a config key, found ${describeValue(key)}` };
    return isConfigKey(key) ? { key, value, origin: `${origin}: ${key}` } : { origin, message: unknownKey(key) };
  });
}

function fromOverride({ text, origin }: { text: string; origin: string }): Given | Fault {
  const cut = text.indexOf('=');
  const key = text.slice(0, Math.max(cut, 0)).trim();
  if (cut < 0) return { origin, message: 'expected key=value, such as lr=5e-4' };
  if (!isConfigKey(key)) return { origin, message: unknownKey(key) };
  return read(key, origin, () => readOverride(keyRow(key).kind, text.slice(cut + 1), origin));
}

function fromFlags({ flags = {}, unknownFlags = [], knownFlags = [], faults = [] }: ConfigSources): Collected {
  const unknown = unknownFlags.map((flag) => ({ origin: flag, message: unknownFlag(flag, knownFlags) }));
  const given = CONFIG_KEYS.flatMap((key) => {
    const text = flags[key];
    const origin = flagName(key);
    if (text === undefined) return [];
    return [read(key, origin, () => (keyRow(key).kind.reading === 'text' ? text : parseYamlValue(text, origin)))];
  });
  return [...unknown, ...faults, ...given];
}

/** A value that is still to be read, or the fault of reading it. */
function read(key: ConfigKey, origin: string, value: () => unknown): Given | Fault {
  try {
    return { key, value: value(), origin };
  } catch (error) {
    if (!(error instanceof FltacError)) throw error;
    return { origin, message: `expected ${keyRow(key).kind.expected}; ${error.message}` };
  }
}

/** YAML, except that text keeps its spelling where YAML would see a number, and that commas make lists. */
function readOverride(kind: Kind<unknown>, text: string, origin: string): unknown {
  const value = parseYamlValue(text, origin);
  if (kind.reading === 'text' && (typeof value === 'number' || typeof value === 'boolean')) return text.trim();
  if (kind.reading === 'list' && typeof value === 'string') return value.split(',').map((item) => item.trim());
  return value;
}

function unknownKey(key: string): string {
  const spellings = CONFIG_KEYS.flatMap((name) =>
    [name, ...(keyRow(name).alsoCalled ?? [])].map((spelling) => [spelling, name] as const),
  );
  const name = nearest(key, spellings);
  return `${key === '' ? 'an empty name' : key} is not a config key${name === undefined ? '' : `; did you mean ${name}?`}`;
}

function unknownFlag(flag: string, known: readonly string[]): string {
  if (!flag.startsWith('-')) return 'is not expected here';
  const key = flag.replace(/^--?/, '').replaceAll('-', '_');
  if (isConfigKey(key)) return `is not a flag of this command; give it as --override ${key}=…`;
  const also = CONFIG_KEYS.filter((name) => known.includes(flagName(name))).flatMap((name) =>
    (keyRow(name).alsoCalled ?? []).map((spelling) => [`--${spelling}`, flagName(name)] as const),
  );
  const name = nearest(flag, [...known.map((spelling) => [spelling, spelling] as const), ...also]);
  return `is not a flag of this command${name === undefined ? '' : `; did you mean ${name}?`}`;
}

function resolve(collected: Collected, env: NodeJS.ProcessEnv, command?: string): LoadedConfig {
  const faults: Fault[] = [];
  const values = new Map<ConfigKey, unknown>();
  const origins = new Map<ConfigKey, string>();
  const faulty = new Set<ConfigKey>();
  for (const item of collected) {
    if (!('key' in item)) {
      faults.push(item);
      continue;
    }
    const { key, origin } = item;
    const value = keyRow(key).kind.reading === 'mapping' ? plainObjects(item.value) : item.value;
    const messages = faultsOf(key, value);
    if (messages.length === 0) {
      values.set(key, value);
    } else {
      for (const message of messages) faults.push({ origin, message });
      faulty.add(key);
    }
    origins.set(key, origin);
  }
  const config = withDefaults(values, env, faulty);
  const sound = RULES.filter((rule) => !rule.keys.some((key) => faulty.has(key)));
  for (const { origin, message } of broken(sound, config, origins)) faults.push({ origin, message });
  throwFaults(faults, hint(command));
  const warnings = broken(WITHOUT_EFFECT, config, origins)
    .filter(({ key }) => !isDeepStrictEqual(values.get(key), defaultOf(key, { ...config, env })))
    .map(({ origin, message }) => `${origin} ${message}`);
  return { config, given: origins, warnings };
}

/** Every key's value: the given one, else its default. */
function withDefaults(
  values: ReadonlyMap<ConfigKey, unknown>,
  env: NodeJS.ProcessEnv,
  faulty: ReadonlySet<ConfigKey>,
): RunConfig {
  const scenario = (values.get('scenario') ?? keyRow('scenario').default) as RunConfig['scenario'];
  const data = (values.get('data') ?? null) as ScenarioChoice['data'];
  // Without its data a custom scenario has no tasks; that fault is told by a rule, or was already.
  const incomplete = scenario === 'custom' && (data === null || faulty.has('data'));
  const method = (values.get('method') ?? keyRow('method').default) as string;
  const entries = CONFIG_KEYS.map((key) => {
    if (values.has(key)) return [camelName(key), frozen(values.get(key))] as const;
    const value = defaultOf(key, { scenario, data, method, env });
    const [message] = incomplete ? [] : faultsOf(key, value);
    if (message !== undefined) throw new FltacError('INTERNAL', `the default of ${key}: ${message}`);
    return [camelName(key), frozen(value)] as const;
  });
  return Object.freeze(Object.fromEntries(entries)) as unknown as RunConfig;
}

/** A copy that cannot be changed, to its depths. */
function frozen(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze((value as unknown[]).map(frozen));
  if (typeof value !== 'object' || value === null) return value;
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([key, part]) => [key, frozen(part)])));
}

/** YAML's mappings as objects; a mapping with other keys than texts stays one, which is a fault. */
function plainObjects(value: unknown): unknown {
  if (Array.isArray(value)) return (value as unknown[]).map(plainObjects);
  if (!(value instanceof Map) || [...value.keys()].some((key) => typeof key !== 'string')) return value;
  return Object.fromEntries([...(value as Map<string, unknown>)].map(([key, part]) => [key, plainObjects(part)]));
}

/** What is wrong with a value. */
function faultsOf(key: ConfigKey, value: unknown): string[] {
  const { kind } = keyRow(key);
  if (kind.faults) return kind.faults(value);
  if (kind.type.safeParse(value).success) return [];
  if (typeof value !== 'string') return [`expected ${kind.expected}, found ${describeValue(value)}`];
  const hint = kind.words ? didYouMean(value, kind.words) : '';
  return [`expected ${kind.expected}, found ${describeValue(value)}${hint}`];
}

function broken(
  rules: readonly Rule[],
  config: RunConfig,
  origins: ReadonlyMap<ConfigKey, string>,
): (Fault & { key: ConfigKey })[] {
  return rules.flatMap((rule) => {
    const message = rule.check(config);
    if (message === undefined) return [];
    const named = rule.keys.filter((key) => origins.has(key));
    return named.slice(0, 1).map((key) => ({ key, origin: origins.get(key)!, message }));
  });
}
