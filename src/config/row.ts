/** A row of the table of config keys, and what rows are made with. */
import type { CustomData } from './custom-tasks.js';
import type { Kind } from './kinds.js';
import type { ScenarioChoice } from './scenarios.js';

/** What a default may depend on. */
export interface DefaultContext extends ScenarioChoice {
  method: string;
  env: NodeJS.ProcessEnv;
}

/** What a key's value can be. */
export type ConfigValue =
  string | number | boolean | null | readonly string[] | Readonly<Record<string, string>> | CustomData;

/** A default that depends on other keys or the environment, and how to say so. */
export interface DerivedDefault<T> {
  readonly text: string;
  readonly of: (context: DefaultContext) => T;
}

export const GROUPS = {
  task: 'What is trained, and how',
  partition: 'Clients and their data',
  participation: 'Who takes part in a round',
  training: 'Rounds and local fine-tuning',
  adapter: 'Adapters',
  server: 'Server',
  evaluation: 'Evaluation',
  machine: 'Machine and folders',
} as const;
export type Group = keyof typeof GROUPS;

export interface KeyRow<T> {
  readonly group: Group;
  readonly kind: Kind<T>;
  // NoInfer: T comes from the kind, so that a word stays one of its words
  readonly default: NoInfer<T | DerivedDefault<T>>;
  /** one sentence without a full stop */
  readonly meaning: string;
  /** whether there is a named flag; every key can be given with --override */
  readonly flag: boolean;
  /** whether the key may have another value when a run is resumed */
  readonly resume: 'free' | 'fixed';
  /** other names people try, to suggest this one */
  readonly alsoCalled?: readonly string[];
}

export const FLAG = { flag: true, resume: 'fixed' } as const;
export const FREE_FLAG = { flag: true, resume: 'free' } as const;
export const KEY = { flag: false, resume: 'fixed' } as const;
export const FREE_KEY = { flag: false, resume: 'free' } as const;

/** What makes the rows of one group. */
export function rowsOf(group: Group): <T>(value: Omit<KeyRow<T>, 'group'>) => KeyRow<T> {
  return (value) => ({ group, ...value });
}

export function derived<T>(description: string, of: (context: DefaultContext) => T): DerivedDefault<T> {
  return { text: description, of };
}
