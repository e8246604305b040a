/**
 * The scenarios: their tasks in the order that the partition's seeds follow, and the defaults that differ from the
 * common ones in `schema.ts`. A new scenario is a row.
 */

/** Scenarios that this version can train. */
export const READY_SCENARIOS = ['quickstart', 'glue'] as const;
export type ScenarioName = (typeof READY_SCENARIOS)[number];

/** Scenarios that are known but cannot be trained by this version. */
export const PLANNED_SCENARIOS = ['cifar', 'dolly', 'custom'] as const;
export type KnownScenario = ScenarioName | (typeof PLANNED_SCENARIOS)[number];

/** Scenarios whose row counts are known, so that their partition can be shown. */
export const PARTITION_SCENARIOS = [...READY_SCENARIOS, 'cifar', 'dolly'] as const;
export type PartitionScenario = (typeof PARTITION_SCENARIOS)[number];

/** Stands for the backbone in `quickstart/`, which comes with fltac; resolved by `src/data`. */
export const BUNDLED_MODEL = 'builtin:quickstart';

export interface ScenarioRow {
  /** completes "scenario: …" in help and docs */
  title: string;
  tasks: readonly string[];
  /** defaults by config key, where they are not the common ones */
  defaults: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

export const SCENARIOS: Readonly<Record<KnownScenario, ScenarioRow>> = {
  quickstart: {
    title: 'four made-up text tasks and a small BERT that come with fltac; offline, a minute on two cores',
    tasks: ['sentiment', 'topic', 'answer', 'contradiction'],
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
    defaults: {},
  },
  cifar: {
    title: 'CIFAR-10 and CIFAR-100 on ViT',
    tasks: ['cifar10', 'cifar100'],
    defaults: { model_name: 'google/vit-base-patch16-224-in21k' },
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
    defaults: { model_name: 'huggyllama/llama-7b' },
  },
  custom: { title: "tasks from the user's own files", tasks: [], defaults: {} },
};

/** Classes of every task of a scenario, and so outputs of the classification head. */
export const NUM_LABELS: Readonly<Record<ScenarioName, number>> = { quickstart: 2, glue: 2 };
