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

/** Settings without effect are warned of, where the user gave them and not the default. */
export const WITHOUT_EFFECT: readonly Rule[] = [
  {
    keys: ['fedit_steps'],
    check: ({ method }) => onlyWith(method === 'fedit', 'method fedit', method),
  },
  ...(['kmeans_n_init', 'kmeans_max_iter', 'kmeans_tol'] as const).map((key) => ({
    keys: [key],
    check: ({ method }: CheckedConfig) => onlyWith(method === 'fltac', 'method fltac', method),
  })),
  {
    keys: ['weights'],
    check: ({ method }) =>
      onlyWith(method !== 'local' && method !== 'none', 'a method that averages adapters', `method ${method}`),
  },
];

function onlyWith(applies: boolean, where: string, found: string): string | undefined {
  return applies ? undefined : `has no effect: it matters only with ${where}, not with ${found}`;
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
