/** Rules between keys: what each key's own kind cannot say. */
import { clientsAsked } from '../federation/participation.js';
import { presetShape } from '../models/presets.js';
import { deviceMapFaults, deviceMapMessage } from '../engine/placement.js';
import { scenarioRow } from './scenarios.js';
import type { ConfigKey, RunConfig } from './schema.js';
import { didYouMean } from '../suggest.js';

export interface Rule {
  /** the keys it looks at; the first that the user gave is named with the message */
  keys: readonly ConfigKey[];
  /** undefined where all is well */
  check: (config: RunConfig) => string | undefined;
}

/** Broken rules end the command. */
export const RULES: readonly Rule[] = [
  { keys: ['scenario', 'data'], check: checkData },
  { keys: ['tasks', 'scenario'], check: checkTasks },
  { keys: ['lora_rank', 'model_name'], check: checkRank },
  { keys: ['max_len', 'model_name'], check: checkLength },
  { keys: ['train_head', 'scenario'], check: checkHead },
  { keys: ['device_map', 'model_name'], check: checkDeviceMap },
  { keys: ['participation', 'n_clients'], check: checkParticipation },
  { keys: ['min_clients', 'participation', 'n_clients'], check: checkFewest },
  { keys: ['initial_adapter', 'method'], check: checkInitial },
  { keys: ['baseline_method', 'method'], check: checkBaseline },
];

const KMEANS_KEYS = [
  'kmeans_k',
  'kmeans_space',
  'kmeans_metric',
  'kmeans_standardize',
  'kmeans_n_init',
  'kmeans_max_iter',
  'kmeans_tol',
] as const satisfies readonly ConfigKey[];

/** Of what is sent to the server and averaged there. */
const SERVER_KEYS = [
  'weights',
  'aggregation',
  'upload_format',
  'max_update_norm',
] as const satisfies readonly ConfigKey[];

/** Of clients that may be absent: where all rows are in one place there are none. */
const CLIENT_KEYS = [
  'participation',
  'dropout_clients',
  'straggler_clients',
  'min_clients',
] as const satisfies readonly ConfigKey[];

/** What full fine-tuning has no use for: LoRA's, and how the frozen backbone is held and passed over. */
const LORA_KEYS = [
  'lr',
  'lora_rank',
  'lora_alpha',
  'lora_dropout',
  'target_modules',
  'train_head',
  'cohort',
  'dtype',
  'tf32',
  'gradient_checkpointing',
] as const satisfies readonly ConfigKey[];

/** Settings without effect are warned of, where the user gave them and not the default. */
export const WITHOUT_EFFECT: readonly Rule[] = [
  { keys: ['fedit_steps'], check: (config) => onlyWith(config, ['fedit'], { baseline: false }) },
  { keys: ['centralized_steps'], check: (config) => onlyWith(config, ['centralized', 'full'], { baseline: true }) },
  { keys: ['full_lr'], check: (config) => onlyWith(config, ['full'], { baseline: false }) },
  ...LORA_KEYS.map((key) => ({ keys: [key], check: notWithFull })),
  ...KMEANS_KEYS.map((key) => ({
    keys: [key],
    check: (config: RunConfig) => onlyWith(config, ['fltac'], { baseline: true }),
  })),
  { keys: ['max_len'], check: lengthOfImages },
  { keys: ['data'], check: dataOfOthers },
  { keys: ['device'], check: checkDevice },
  ...SERVER_KEYS.map((key) => ({
    keys: [key],
    check: (config: RunConfig) => onlyWith(config, ['fltac', 'fedit', 'oracle'], { baseline: true }),
  })),
  ...CLIENT_KEYS.map((key) => ({
    keys: [key],
    check: (config: RunConfig) => onlyWith(config, ['fltac', 'fedit', 'local', 'oracle'], { baseline: true }),
  })),
];

/** A message where none of the methods that use a setting runs, as the method or as its baseline. */
function onlyWith(
  { method, baselineMethod }: RunConfig,
  users: readonly string[],
  { baseline }: { baseline: boolean },
): string | undefined {
  if (users.includes(method) || (baseline && users.includes(baselineMethod))) return undefined;
  return `has no effect: it matters only with method ${users.join(', ')}, not with ${method}`;
}

function notWithFull({ method }: RunConfig): string | undefined {
  if (method !== 'full') return undefined;
  return 'has no effect: method full trains every weight in float32, one model at a time, at full_lr';
}

/** A baseline has the adapters of its run. */
function checkBaseline({ baselineMethod, method }: RunConfig): string | undefined {
  if (baselineMethod === 'none' || method !== 'full') return undefined;
  return `expected none with method full: fltac compare --methods full,${baselineMethod} runs both`;
}

function checkInitial({ initialAdapter, method }: RunConfig): string | undefined {
  if (initialAdapter === null || method !== 'full') return undefined;
  return 'expected null with method full, which starts from the backbone itself: name a model in model_name';
}

function checkData({ scenario, data }: RunConfig): string | undefined {
  if (scenario !== 'custom' || data !== null) return undefined;
  return 'custom needs the section data, which names files and columns of each task: docs/custom-tasks.md';
}

function dataOfOthers({ scenario }: RunConfig): string | undefined {
  return scenario === 'custom'
    ? undefined
    : `has no effect: it matters only with scenario custom, not with ${scenario}`;
}

function checkTasks(config: RunConfig): string | undefined {
  const { tasks, scenario } = config;
  const known = scenarioRow(config).tasks;
  // A custom scenario without data has no tasks, and its fault is told already.
  if (known.length === 0) return undefined;
  const strange = tasks.filter((task) => !known.includes(task));
  if (strange.length === 0) return undefined;
  const named = strange.map((task) => `${task}${didYouMean(task, known)}`).join(', ');
  return `expected tasks of scenario ${scenario} (${known.join(', ')}), found ${named}`;
}

function checkDeviceMap({ deviceMap, modelName }: RunConfig): string | undefined {
  if (deviceMap === null) return undefined;
  const faults = deviceMapFaults(deviceMap, presetShape(modelName)?.num_hidden_layers);
  return faults.length === 0 ? undefined : deviceMapMessage(faults);
}

function checkParticipation({ participation, nClients }: RunConfig): string | undefined {
  if (participation === 'all' || participation <= nClients) return undefined;
  return `expected at most n_clients (${nClients}), found ${participation}`;
}

function checkFewest({ minClients, participation, nClients }: RunConfig): string | undefined {
  const asked = clientsAsked(participation, nClients);
  if (minClients <= asked) return undefined;
  return `expected at most the ${asked} clients that a round asks (n_clients, participation), found ${minClients}`;
}

function checkDevice({ deviceMap }: RunConfig): string | undefined {
  return deviceMap === null ? undefined : 'has no effect: device_map says where each part of the backbone goes';
}

function checkRank({ loraRank, modelName }: RunConfig): string | undefined {
  const hidden = presetShape(modelName)?.hidden_size;
  if (hidden === undefined || loraRank <= hidden) return undefined;
  return `expected a rank of at most ${hidden}, the hidden size of ${modelName}, found ${loraRank}`;
}

function checkLength({ maxLen, modelName }: RunConfig): string | undefined {
  const positions = presetShape(modelName)?.max_position_embeddings;
  if (positions === undefined || maxLen <= positions) return undefined;
  return `expected at most ${positions} tokens, the positions of ${modelName}, found ${maxLen}`;
}

function lengthOfImages(config: RunConfig): string | undefined {
  return scenarioRow(config).input === 'images' ? `has no effect: scenario ${config.scenario} is of images` : undefined;
}

function checkHead(config: RunConfig): string | undefined {
  const { trainHead, scenario } = config;
  if (!trainHead || scenarioRow(config).output === 'classes') return undefined;
  return `expected train_head false: scenario ${scenario} trains a language model, whose head stays frozen; found true`;
}
