/**
 * Every config key, declared once: kind of value (with its range), default, meaning, whether it is a named flag and
 * whether it may change when a run is resumed. The type `RunConfig`, the flags, the checks, the resolved
 * `config.yaml`, `--help` and `docs/configuration.md` all derive from this table.
 */
import { cacheFromEnvironment } from '../data/hub/settings.js';
import { DEVICE_NAME } from '../engine/placement.js';
import {
  boolean,
  integer,
  integerOr,
  integerOrAuto,
  matching,
  names,
  number,
  oneOf,
  optionalMapping,
  optionalText,
  text,
} from './kinds.js';
import type { Kind } from './kinds.js';
import { customData, type CustomData } from './custom-tasks.js';
import { READY_SCENARIOS, scenarioRow, type ScenarioChoice } from './scenarios.js';

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

const FLAG = { flag: true, resume: 'fixed' } as const;
const FREE_FLAG = { flag: true, resume: 'free' } as const;
const KEY = { flag: false, resume: 'fixed' } as const;
const FREE_KEY = { flag: false, resume: 'free' } as const;

export const KEYS = {
  scenario: row({
    ...FLAG,
    group: 'task',
    kind: oneOf(READY_SCENARIOS),
    default: 'quickstart',
    meaning: 'tasks, data and backbone to use',
    alsoCalled: ['dataset'],
  }),
  model_name: row({
    ...FLAG,
    group: 'task',
    kind: text('a Hub id such as org/name, or a local folder', 'id|folder'),
    default: 'bert-base-uncased',
    meaning: 'backbone: a model on the Hub, or a folder with config.json, model.safetensors and tokenizer.json',
    alsoCalled: ['model', 'backbone'],
  }),
  model_revision: row({
    ...KEY,
    group: 'task',
    kind: text('a branch, tag or commit', 'revision'),
    default: 'main',
    meaning: 'revision of the model on the Hub',
    alsoCalled: ['revision'],
  }),
  method: row({
    ...FLAG,
    group: 'task',
    kind: oneOf(['fltac', 'fedit', 'local', 'oracle', 'none'], ['centralized', 'full']),
    default: 'fltac',
    meaning:
      'fltac: an adapter for each task, clustered by the server; fedit: one adapter a client, averaged; ' +
      'local: no aggregation; oracle: averaged by the true task; none: the untuned backbone',
    alsoCalled: ['algorithm', 'strategy'],
  }),
  baseline_method: row({
    ...KEY,
    group: 'task',
    kind: oneOf(['none', 'fedit', 'local', 'oracle']),
    default: derived('fedit for the quickstart with fltac, else none', ({ scenario, method }) =>
      scenario === 'quickstart' && method === 'fltac' ? 'fedit' : 'none',
    ),
    meaning:
      'method to compare with: the same rounds are run with it too (fedit_steps: full), into baseline_<method>/ of the ' +
      "run's folder, and it gets a column of the final table",
    alsoCalled: ['baseline', 'compare'],
  }),
  tasks: row({
    ...KEY,
    group: 'task',
    kind: names("the scenario's tasks"),
    default: derived("all of the scenario's, in its order", (choice) => scenarioRow(choice).tasks),
    meaning: 'tasks to use; task number i draws its partition with seed + i',
    alsoCalled: ['task'],
  }),
  data: row({
    ...KEY,
    group: 'task',
    kind: customData(),
    default: null,
    meaning: 'with scenario custom: the tasks by name, each with its files and columns (docs/custom-tasks.md)',
  }),

  n_clients: row({
    ...FLAG,
    group: 'partition',
    kind: integer({ min: 1, max: 100_000 }),
    default: 10,
    meaning: 'number of clients',
    alsoCalled: ['clients', 'num_clients', 'number_of_clients'],
  }),
  dirichlet_alpha: row({
    ...FLAG,
    group: 'partition',
    kind: number({ above: 0 }),
    default: 0.5,
    meaning: "concentration of the Dirichlet that splits each task's rows over the clients; small is uneven",
  }),
  min_frac: row({
    ...FLAG,
    group: 'partition',
    kind: number({ min: 0, below: 1 }),
    default: 0.01,
    meaning:
      'a client whose share of a task is below this gets none of it, but for rows that rounding leaves over, as in the published split',
  }),
  partition_order: row({
    ...KEY,
    group: 'partition',
    kind: oneOf(['listed', 'sorted']),
    default: 'listed',
    meaning: "order in which tasks are numbered for the partition's seeds; sorted is the published trainer's",
  }),
  seed: row({
    ...FLAG,
    group: 'partition',
    kind: integer({ min: 0 }),
    default: 42,
    meaning: 'seed of every random draw: partition, initial adapter, batches, dropout, K-means',
    alsoCalled: ['random_seed'],
  }),

  rounds: row({
    ...FREE_FLAG,
    group: 'training',
    kind: integer({ min: 1 }),
    default: 20,
    meaning: 'federated rounds',
    alsoCalled: ['num_rounds', 'n_rounds', 'epochs'],
  }),
  local_steps: row({
    ...FLAG,
    group: 'training',
    kind: integer({ min: 1 }),
    default: 50,
    meaning: 'AdamW steps of one local fine-tune',
    alsoCalled: ['steps'],
  }),
  lr: row({
    ...FLAG,
    group: 'training',
    kind: number({ above: 0 }),
    default: 5e-4,
    meaning: "AdamW's learning rate",
    alsoCalled: ['learning_rate'],
  }),
  weight_decay: row({
    ...KEY,
    group: 'training',
    kind: number({ min: 0 }),
    default: 0.01,
    meaning: "AdamW's decoupled weight decay",
  }),
  batch_size: row({
    ...FLAG,
    group: 'training',
    kind: integer({ min: 1 }),
    default: 32,
    meaning: 'sequences of one training step',
    alsoCalled: ['batch'],
  }),
  max_len: row({
    ...FLAG,
    group: 'training',
    kind: integer({ min: 4 }),
    default: 128,
    meaning: 'longest sequence in tokens; longer ones are truncated',
    alsoCalled: ['max_length', 'max_seq_length', 'max_seq_len'],
  }),
  fedit_steps: row({
    ...KEY,
    group: 'training',
    kind: oneOf(['published', 'full']),
    default: 'published',
    meaning: "with fedit: local_steps are split over a client's tasks (published), or taken for each (full)",
  }),

  lora_rank: row({
    ...FLAG,
    group: 'adapter',
    kind: integer({ min: 1, max: 65_536 }),
    default: 4,
    meaning: 'rank r of the LoRA factors',
    alsoCalled: ['rank', 'r', 'lora_r'],
  }),
  lora_alpha: row({
    ...FLAG,
    group: 'adapter',
    kind: number({ above: 0 }),
    default: 16,
    meaning: 'LoRA alpha: the product of the factors is scaled by lora_alpha / lora_rank',
  }),
  lora_dropout: row({
    ...FLAG,
    group: 'adapter',
    kind: number({ min: 0, below: 1 }),
    default: 0.05,
    meaning: "probability of dropping an input value of LoRA's branch while training",
    alsoCalled: ['dropout'],
  }),
  target_modules: row({
    ...KEY,
    group: 'adapter',
    kind: names("the backbone's linear modules, by the last part of their names"),
    default: ['query', 'value'],
    meaning: 'linear modules that get LoRA',
    alsoCalled: ['lora_targets', 'lora_target_modules'],
  }),
  train_head: row({
    ...KEY,
    group: 'adapter',
    kind: boolean(),
    default: true,
    meaning: 'whether the classification head is part of the adapter: trained, clustered, averaged and uploaded',
  }),
  initial_adapter: row({
    ...KEY,
    group: 'adapter',
    kind: optionalText('a .safetensors file or a PEFT directory', 'path'),
    default: null,
    meaning: 'common initial state of all adapters; without one it is drawn from the seed',
  }),

  weights: row({
    ...KEY,
    group: 'server',
    kind: oneOf(['samples', 'uniform']),
    default: 'samples',
    meaning: 'weights of the averages: by number of samples, or all equal',
  }),
  kmeans_k: row({
    ...KEY,
    group: 'server',
    kind: integerOr(['tasks', 'auto'], { min: 1, max: 100_000 }),
    default: 'tasks',
    meaning:
      'clusters of K-means: tasks takes the number of tasks, auto the number from 2 to 20 whose clusters are told apart ' +
      'best (mean silhouette)',
    alsoCalled: ['k', 'n_clusters', 'clusters', 'num_clusters'],
  }),
  kmeans_space: row({
    ...KEY,
    group: 'server',
    kind: oneOf(['parameters', 'delta_w']),
    default: 'parameters',
    meaning:
      'where adapters are compared: parameters takes their values as they are, delta_w the weight changes B A that they ' +
      'stand for',
    alsoCalled: ['cluster_space', 'feature_space'],
  }),
  kmeans_metric: row({
    ...KEY,
    group: 'server',
    kind: oneOf(['euclidean', 'cosine']),
    default: 'euclidean',
    meaning: 'how adapters are compared: cosine by their directions alone',
  }),
  kmeans_standardize: row({
    ...KEY,
    group: 'server',
    kind: boolean(),
    default: false,
    meaning: "whether each tensor of the adapters is divided by its values' standard deviation before K-means",
    alsoCalled: ['standardize'],
  }),
  kmeans_n_init: row({
    ...KEY,
    group: 'server',
    kind: integer({ min: 1, max: 10_000 }),
    default: 10,
    meaning: 'k-means++ starts, of which the one with the least inertia is kept',
  }),
  kmeans_max_iter: row({
    ...KEY,
    group: 'server',
    kind: integer({ min: 1 }),
    default: 300,
    meaning: 'most Lloyd iterations of a start',
  }),
  kmeans_tol: row({
    ...KEY,
    group: 'server',
    kind: number({ min: 0 }),
    default: 1e-4,
    meaning: "a start ends when its centroids move by less than this, relative to the columns' mean variance",
  }),

  eval_every: row({
    ...FREE_FLAG,
    group: 'evaluation',
    kind: integer({ min: 1 }),
    default: 2,
    meaning: 'rounds between two evaluations',
  }),
  max_eval_batches: row({
    ...FREE_FLAG,
    group: 'evaluation',
    kind: integer({ min: 1 }),
    default: 50,
    meaning: 'most batches of eval_batch_size rows that a task is evaluated on, from the first row on',
  }),
  eval_batch_size: row({
    ...FREE_KEY,
    group: 'evaluation',
    kind: integer({ min: 1 }),
    default: 64,
    meaning: 'sequences of one evaluation batch',
  }),

  output_dir: row({
    ...FLAG,
    group: 'machine',
    kind: text('a folder', 'folder'),
    default: derived('results/<scenario>_<method>', ({ scenario, method }) => `results/${scenario}_${method}`),
    meaning: "the run's folder",
    alsoCalled: ['output', 'out', 'out_dir'],
  }),
  cache_dir: row({
    ...FREE_FLAG,
    group: 'machine',
    kind: text('a folder', 'folder'),
    default: derived(
      './hf_cache, or what HF_HUB_CACHE or HF_HOME names',
      ({ env }) => cacheFromEnvironment(env) ?? './hf_cache',
    ),
    meaning: 'where downloaded models and data are kept, in the layout of the Hugging Face cache',
  }),
  save_every: row({
    ...FREE_KEY,
    group: 'machine',
    kind: integer({ min: 1 }),
    default: 1,
    meaning: 'rounds between two adapters_round_<t>.pt; the last round is always saved',
  }),
  cohort: row({
    ...FREE_KEY,
    group: 'machine',
    kind: integerOrAuto({ min: 1 }),
    default: 'auto',
    meaning: 'most adapters trained in one pass over the backbone; 1 trains one after another',
  }),
  threads: row({
    ...FREE_KEY,
    group: 'machine',
    kind: integer({ min: 0, max: 4096 }),
    default: 0,
    meaning: 'CPU threads; 0 takes OMP_NUM_THREADS, or else all cores',
    alsoCalled: ['num_threads', 'n_threads'],
  }),
  device: row({
    ...FREE_FLAG,
    group: 'machine',
    kind: matching(
      'auto, cpu, cuda (the first CUDA device) or a device such as cuda:1',
      new RegExp(`^auto$|${DEVICE_NAME.source}`),
      ['auto', 'cpu', 'cuda'],
    ),
    default: 'auto',
    meaning:
      'where the backbone computes; auto takes CUDA devices by their free memory, and the CPU where there are none',
  }),
  device_map: row({
    ...FREE_KEY,
    group: 'machine',
    kind: optionalMapping('a mapping of the parts embedding, layers.N, layers.A-B and output to devices'),
    default: null,
    meaning: 'in place of device, a device for each part of the backbone (docs/devices.md)',
    alsoCalled: ['placement', 'devices'],
  }),
  dtype: row({
    ...FLAG,
    group: 'machine',
    kind: oneOf(['auto', 'float32', 'bfloat16', 'float16']),
    default: 'auto',
    meaning:
      "data type of the backbone's weights; auto is float32 unless the files are of half precision and the device " +
      'computes with it',
    alsoCalled: ['precision', 'torch_dtype'],
  }),
  gradient_checkpointing: row({
    ...FREE_KEY,
    group: 'machine',
    kind: boolean(),
    default: false,
    meaning: 'whether layers are computed again for the backward pass instead of kept: less memory, the same results',
    alsoCalled: ['checkpointing'],
  }),
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

function row<T>(value: KeyRow<T>): KeyRow<T> {
  return value;
}

function derived<T>(description: string, of: (context: DefaultContext) => T): DerivedDefault<T> {
  return { text: description, of };
}
