/** Scenarios: which tasks there are, and their rows in the form the backbone reads. */
import path from 'node:path';
import type { Examples } from '../engine/types.js';
import type { RunConfig } from '../config/schema.js';
import type { TaskSize } from '../federation/partition.js';
import { bundledTasks } from './bundled.js';
import type { Log } from '../run/log.js';

/** One task: its training and evaluation rows, tokenised or decoded when asked for. */
export interface ScenarioTask<E extends Examples = Examples> {
  name: string;
  /**
   * classes; labels are 0 up to numLabels - 1 in every row (checked when the scenario is loaded). null for a language
   * model's task
   */
  numLabels: number | null;
  trainRows: number;
  evalRows: number;
  /** share of the most frequent label in the whole evaluation split; null where there are no classes */
  majorityFloor: number | null;
  /** prepares these training rows, in this order (rows may repeat). @throws SHAPE for a row that does not exist */
  trainExamples(rows: Int32Array): Promise<E>;
  /** prepares the first `limit` evaluation rows (all where there are fewer) */
  evalExamples(limit: number): Promise<E>;
  /**
   * a language model's task only: the prompts of these evaluation rows, in this order. @throws SHAPE for a row that does
   * not exist
   */
  evalPrompts?(rows: Int32Array): Promise<HeldOutPrompts>;
}

/** Prompts to be answered, with the answers that the data give. */
export interface HeldOutPrompts {
  /** token ids of all prompts, one after another */
  ids: Int32Array;
  /** prompt i is ids[offsets[i]] up to ids[offsets[i + 1]] */
  offsets: Int32Array;
  /** the prompts as text */
  texts: readonly string[];
  references: readonly string[];
}

/** Where data came from, for environment.json. */
export interface Provenance {
  /** "datasets/org/name", or a folder of this package */
  repo: string;
  /** the Hub commit, or "local" */
  revision: string;
  files: readonly string[];
  /** of each file's content, where no commit names it */
  sha256?: readonly string[];
}

/** accuracy: share of rows whose class is right; loss: a language model's cross-entropy, lower being better. */
export type MetricName = 'accuracy' | 'loss';

export interface Scenario {
  name: string;
  /** what its tasks are measured by */
  metric: MetricName;
  /** in the order of `tasks`, or the scenario's own */
  tasks: readonly ScenarioTask[];
  /** dataset ids, revisions and files used */
  provenance: readonly Provenance[];
}

export interface ResolvedModel {
  /**
   * local folder with config.json, model.safetensors or model.safetensors.index.json + shards and, where the model reads
   * text, tokenizer.json
   */
  folder: string;
  id: string;
  /** the Hub commit, or "local" */
  revision: string;
}

/** A model's name for files that leave the machine: of a local folder its last part, since a path tells of the machine. */
export function shownModelId({ id, revision }: Pick<ResolvedModel, 'id' | 'revision'>): string {
  return revision === 'local' ? path.basename(id) : id;
}

export interface DataContext {
  signal?: AbortSignal;
  log: Log;
}

type Loader = (config: RunConfig, model: ResolvedModel, context: DataContext) => Promise<Scenario>;

// Loaded on use: knownTaskSizes is asked by commands that neither download nor tokenise.
const LOADERS: Record<RunConfig['scenario'], () => Promise<Loader>> = {
  quickstart: async () => (await import('./quickstart.js')).loadQuickstart,
  glue: async () => (await import('./glue.js')).loadGlue,
  cifar: async () => (await import('./cifar.js')).loadCifar,
  dolly: async () => (await import('./dolly.js')).loadDolly,
  custom: async () => (await import('./custom.js')).loadCustom,
};

/**
 * Gets the scenario's data (downloading what the cache lacks) and makes its tasks.
 * @throws USAGE for a task the scenario does not have, NETWORK, IO, FORMAT (a broken file, a label out of range), ABORTED
 */
export async function loadScenario(config: RunConfig, model: ResolvedModel, context: DataContext): Promise<Scenario> {
  const load = await LOADERS[config.scenario]();
  return load(config, model, context);
}

/** Looks at the text of a model's config.json before its weights are downloaded, and throws where it does not suit. */
export type ConfigCheck = (text: string, path: string) => void;

/**
 * The model's folder: `model_name` itself where it is a local folder, otherwise its place in the Hub cache after the
 * download of what the cache lacks. @throws UNSUPPORTED without safetensors weights, IO, NETWORK, ABORTED, and what
 * `check` throws
 */
export async function resolveModel(
  config: RunConfig,
  context: DataContext,
  check?: ConfigCheck,
): Promise<ResolvedModel> {
  return (await import('./model.js')).resolveModel(config, context, check);
}

/** Training rows of every task whose size is known without a download, by scenario and in listed order. */
const KNOWN_SIZES: ReadonlyMap<string, TaskSize[]> = new Map([
  ['glue', sizes({ sst2: 67349, mrpc: 3668, qqp: 363846, qnli: 104743, rte: 2490 })],
  ['cifar', sizes({ cifar10: 50000, cifar100: 50000 })],
  [
    'dolly', // databricks-dolly-15k as published, before the 5 % that are held out
    sizes({
      brainstorming: 1773,
      classification: 2136,
      closed_qa: 1773,
      creative_writing: 673,
      general_qa: 2191,
      information_extraction: 1506,
      open_qa: 3742,
      summarization: 1188,
    }),
  ],
]);

function sizes(rows: Readonly<Record<string, number>>): TaskSize[] {
  return Object.entries(rows).map(([name, count]) => ({ name, rows: count }));
}

function bundledSizes(): TaskSize[] {
  return bundledTasks().map((task) => ({ name: task.name, rows: task.trainRows }));
}

/**
 * Row counts known without download, for `partition`: those of `tasks` in their order, or all of the scenario's;
 * undefined where the scenario or one of the tasks is not known. @throws IO, FORMAT for a bundle that is not whole
 */
export function knownTaskSizes(scenario: string, tasks?: readonly string[]): TaskSize[] | undefined {
  const known = scenario === 'quickstart' ? bundledSizes() : KNOWN_SIZES.get(scenario);
  if (!known || !tasks) return known;
  const found = tasks.map((name) => known.find((size) => size.name === name)).filter((size) => size !== undefined);
  return found.length === tasks.length ? found : undefined;
}
