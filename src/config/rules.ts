/** Rules between keys: what each key's own kind cannot say. */
import { presetShape } from '../models/presets.js';
import { SCENARIOS } from './scenarios.js';
import type { KnownScenario } from './scenarios.js';
import type { ConfigKey, RunConfig } from './schema.js';
import { didYouMean } from './suggest.js';

/** A configuration whose scenario may be one that is only partitioned. */
export type CheckedConfig = Omit<RunConfig, 'scenario'> & { readonly scenario: KnownScenario };

export interface Rule {
  /** the keys it looks at; the first that the user gave is named with the message */
  keys: readonly ConfigKey[];
  /** undefined where all is well */
  check: (config: CheckedConfig) => string | undefined;
}

/** Broken rules end the command. */
export const RULES: readonly Rule[] = [
  { keys: ['tasks', 'scenario'], check: checkTasks },
  { keys: ['lora_rank', 'model_name'], check: checkRank },
  { keys: ['max_len', 'model_name'], check: checkLength },
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

/** Settings without effect are warned of, where the user gave them and not the default. */
export const WITHOUT_EFFECT: readonly Rule[] = [
  { keys: ['fedit_steps'], check: (config) => onlyWith(config, ['fedit'], { baseline: false }) },
  ...KMEANS_KEYS.map((key) => ({
    keys: [key],
    check: (config: CheckedConfig) => onlyWith(config, ['fltac'], { baseline: true }),
  })),
  { keys: ['weights'], check: (config) => onlyWith(config, ['fltac', 'fedit', 'oracle'], { baseline: true }) },
];

/** A message where none of the methods that use a setting runs, as the method or as its baseline. */
function onlyWith(
  { method, baselineMethod }: CheckedConfig,
  users: readonly string[],
  { baseline }: { baseline: boolean },
): string | undefined {
  if (users.includes(method) || (baseline && users.includes(baselineMethod))) return undefined;
  return `has no effect: it matters only with method ${users.join(', ')}, not with ${method}`;
}

function checkTasks({ tasks, scenario }: CheckedConfig): string | undefined {
  const known = SCENARIOS[scenario].tasks;
  const strange = tasks.filter((task) => !known.includes(task));
  if (strange.length === 0) return undefined;
  const named = strange.map((task) => `${task}${didYouMean(task, known)}`).join(', ');
  return `expected tasks of scenario ${scenario} (${known.join(', ')}), found ${named}`;
}

function checkRank({ loraRank, modelName }: CheckedConfig): string | undefined {
  const hidden = presetShape(modelName)?.hidden_size;
  if (hidden === undefined || loraRank <= hidden) return undefined;
  return `expected a rank of at most ${hidden}, the hidden size of ${modelName}, found ${loraRank}`;
}

function checkLength({ maxLen, modelName }: CheckedConfig): string | undefined {
  const positions = presetShape(modelName)?.max_position_embeddings;
  if (positions === undefined || maxLen <= positions) return undefined;
  return `expected at most ${positions} tokens, the positions of ${modelName}, found ${maxLen}`;
}
