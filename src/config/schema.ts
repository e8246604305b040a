/**
 * Every config key, declared once: kind of value (with its range), default, meaning, whether it is a named flag and
 * whether it may change when a run is resumed. The type `RunConfig`, the flags, the checks, the resolved
 * `config.yaml`, `--help` and `docs/configuration.md` all derive from this table, whose groups lie in `keys/`.
 */
import { ADAPTER_KEYS } from './keys/adapter.js';
import { EVALUATION_KEYS } from './keys/evaluation.js';
import { MACHINE_KEYS } from './keys/machine.js';
import { PARTICIPATION_KEYS } from './keys/participation.js';
import { PARTITION_KEYS } from './keys/partition.js';
import { SERVER_KEYS } from './keys/server.js';
import { TASK_KEYS } from './keys/task.js';
import { TRAINING_KEYS } from './keys/training.js';
import type { ConfigValue, DefaultContext, DerivedDefault, KeyRow } from './row.js';
import { scenarioRow } from './scenarios.js';

export { GROUPS } from './row.js';
export type { ConfigValue, Group, KeyRow } from './row.js';

export const KEYS = {
  ...TASK_KEYS,
  ...PARTITION_KEYS,
  ...PARTICIPATION_KEYS,
  ...TRAINING_KEYS,
  ...ADAPTER_KEYS,
  ...SERVER_KEYS,
  ...EVALUATION_KEYS,
  ...MACHINE_KEYS,
};

/** A config key as YAML, --override and the flags (there also with `-`) name it. */
export type ConfigKey = keyof typeof KEYS;

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S;
type ValueOf<Row> = Row extends KeyRow<infer T> ? T : never;

/** The resolved configuration of a run: every key has its value. */
export type RunConfig = { readonly [K in ConfigKey as Camel<K>]: ValueOf<(typeof KEYS)[K]> };

/** All keys, in the order of the table. */
export const CONFIG_KEYS = Object.keys(KEYS) as ConfigKey[];

export function isConfigKey(name: string): name is ConfigKey {
  return Object.hasOwn(KEYS, name);
}

/** A key's row, whatever its kind of value. */
export function keyRow(key: ConfigKey): KeyRow<ConfigValue> {
  return KEYS[key];
}

/** `n_clients` -> `nClients` */
export function camelName(key: ConfigKey): keyof RunConfig {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) as keyof RunConfig;
}

/** The named flag of a key, spelt with `-`. */
export function flagName(key: ConfigKey): string {
  return `--${key.replaceAll('_', '-')}`;
}

/** The value a key has when nobody gives one; checked like any other value. */
export function defaultOf(key: ConfigKey, context: DefaultContext): ConfigValue {
  const special = scenarioRow(context).defaults[key];
  const { default: value } = keyRow(key);
  if (special !== undefined) return special;
  return isDerived(value) ? value.of(context) : value;
}

export function isDerived(value: ConfigValue | DerivedDefault<ConfigValue>): value is DerivedDefault<ConfigValue> {
  return typeof value === 'object' && value !== null && typeof (value as { of?: unknown }).of === 'function';
}
