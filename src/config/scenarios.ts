/**
 * The scenarios: their tasks in the order that the partition's seeds follow, and the defaults that differ from the
 * common ones in `schema.ts`. A new scenario is a row.
 */

/** Scenarios that this version can train. */
export const READY_SCENARIOS = ['quickstart', 'glue', 'cifar', 'dolly'] as const;
export type ScenarioName = (typeof READY_SCENARIOS)[number];

/** Scenarios that are known but cannot be trained by this version. */
export const PLANNED_SCENARIOS = ['custom'] as const;
export type KnownScenario = ScenarioName | (typeof PLANNED_SCENARIOS)[number];

/** Scenarios whose row counts are known, so that their partition can be shown. */
export const PARTITION_SCENARIOS = READY_SCENARIOS;
export type PartitionScenario = (typeof PARTITION_SCENARIOS)[number];

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

export const SCENARIOS: Readonly<Record<KnownScenario, ScenarioRow>> = {
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
      batch_size: 16,
      max_len: 64,
      eval_every: 1,
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
  custom: { title: "tasks from the user's own files", tasks: [], input: 'tokens', output: 'classes', defaults: {} },
};

/** Classes of every task of a scenario, and so outputs of the classification head; 0 where there is no such head. */
export const NUM_LABELS: Readonly<Record<ScenarioName, number>> = { quickstart: 2, glue: 2, cifar: 100, dolly: 0 };
