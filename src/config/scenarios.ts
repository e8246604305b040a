/**
 * The scenarios: their tasks in the order that the partition's seeds follow, and the defaults that differ from the
 * common ones in `schema.ts`. A new scenario is a row.
 */

import { formOf, type CustomData, type TaskForm } from './custom-tasks.js';

export const READY_SCENARIOS = ['quickstart', 'glue', 'cifar', 'dolly', 'custom'] as const;
export type ScenarioName = (typeof READY_SCENARIOS)[number];
/** Scenarios with tasks of their own. */
export type NamedScenario = Exclude<ScenarioName, 'custom'>;

/** Stands for the backbone in `quickstart/`, which comes with fltac; resolved by `src/data`. */
export const BUNDLED_MODEL = 'builtin:quickstart';

export interface ScenarioRow {
  /** completes "scenario: …" in help and docs */
  title: string;
  tasks: readonly string[];
  /** what its examples are, and what the backbone's loss is over; as ArchitectureInfo says it of a backbone */
  input: 'tokens' | 'images';
  output: 'classes' | 'next_token';
  /** defaults by config key, where they are not the common ones */
  defaults: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

export const SCENARIOS: Readonly<Record<NamedScenario, ScenarioRow>> = {
  quickstart: {
    title: 'four made-up text tasks and a small BERT that come with fltac; offline, a minute on two cores',
    tasks: ['sentiment', 'topic', 'answer', 'contradiction'],
    input: 'tokens',
    output: 'classes',
    defaults: {
      model_name: BUNDLED_MODEL,
      n_clients: 6,
      min_frac: 0.05,
      rounds: 6,
      local_steps: 12,
      lr: 5e-3,
      full_lr: 1e-4,
      batch_size: 16,
      max_len: 64,
      eval_every: 1,
      // Its files are float16 to be small; auto would take bfloat16 on some machines and give other numbers there.
      dtype: 'float32',
    },
  },
  glue: {
    title: 'five GLUE tasks on BERT',
    tasks: ['sst2', 'mrpc', 'qqp', 'qnli', 'rte'],
    input: 'tokens',
    output: 'classes',
    defaults: {},
  },
  cifar: {
    title: 'CIFAR-10 and CIFAR-100 on ViT',
    tasks: ['cifar10', 'cifar100'],
    input: 'images',
    output: 'classes',
    defaults: {
      model_name: 'google/vit-base-patch16-224-in21k',
      lr: 1e-3,
      batch_size: 64,
      train_head: false,
      max_eval_batches: 30,
    },
  },
  dolly: {
    title: 'the eight categories of Dolly on LLaMA',
    tasks: [
      'brainstorming',
      'classification',
      'closed_qa',
      'creative_writing',
      'general_qa',
      'information_extraction',
      'open_qa',
      'summarization',
    ],
    input: 'tokens',
    output: 'next_token',
    defaults: {
      model_name: 'huggyllama/llama-7b',
      rounds: 10,
      local_steps: 30,
      lr: 3e-4,
      batch_size: 4,
      max_len: 512,
      lora_rank: 8,
      target_modules: ['q_proj', 'v_proj'],
      train_head: false,
      eval_every: 1,
      max_eval_batches: 20,
      eval_batch_size: 4,
    },
  },
};

/** The named scenario whose kind of examples and defaults custom tasks take. */
const LIKE: Readonly<Record<TaskForm, NamedScenario>> = { text: 'glue', image: 'cifar', instruction: 'dolly' };

/** The part of a configuration that says what its tasks are. */
export interface ScenarioChoice {
  readonly scenario: ScenarioName;
  readonly data: CustomData | null;
}

/** A scenario's row; of custom tasks, that of the named scenario they are like, with their own names. */
export function scenarioRow({ scenario, data }: ScenarioChoice): ScenarioRow {
  if (scenario !== 'custom') return SCENARIOS[scenario];
  const [first] = Object.values(data ?? {});
  const like = SCENARIOS[LIKE[first ? formOf(first) : 'text']];
  return {
    title: CUSTOM_TITLE,
    tasks: Object.keys(data ?? {}),
    input: like.input,
    output: like.output,
    // The frozen random head of cifar is there for the published counts.
    defaults: { ...like.defaults, train_head: like.output === 'classes' },
  };
}

export const CUSTOM_TITLE =
  "tasks from the user's own files or any data set on the Hub, by column names (docs/custom-tasks.md); further " +
  'defaults as glue for texts, as cifar for images, as dolly for instructions, and a trained head for classes';

/** Classes of every task of a scenario, and so outputs of the classification head; 0 where there is no such head. */
export const NUM_LABELS: Readonly<Record<NamedScenario, number>> = { quickstart: 2, glue: 2, cifar: 100, dolly: 0 };
