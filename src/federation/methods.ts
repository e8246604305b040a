/**
 * The methods as a table: which adapters a client keeps, and how the server groups what it receives. Nothing else in
 * fltac branches on a method's name.
 */

import type { Tuning } from '../engine/types.js';

/** Which adapters a client keeps: one for each task it holds data for, one for all of them, or none that is trained. */
export type Keeping = 'per_task' | 'shared' | 'none';

/** How the server groups adapters before it averages inside each group; see GROUPINGS in server.ts. */
export type GroupingName = 'kmeans' | 'together' | 'true_task' | 'none';

/** Whose rows an adapter is trained on: each client's own, or all clients' in one place. */
export type DataPlace = 'clients' | 'pooled';

export interface Method {
  /** what an adapter is: LoRA's factors and the head, or a whole model */
  readonly tuning: Tuning;
  readonly data: DataPlace;
  readonly adapters: Keeping;
  readonly grouping: GroupingName;
  /** one line for people */
  readonly summary: string;
}

export type MethodName = 'fltac' | 'fedit' | 'local' | 'oracle' | 'centralized' | 'full' | 'none';

export const METHODS: Readonly<Record<MethodName, Method>> = {
  fltac: {
    tuning: 'lora',
    data: 'clients',
    adapters: 'per_task',
    grouping: 'kmeans',
    summary: 'an adapter per client and task, clustered by K-means and averaged in each cluster (Ping et al., 2024)',
  },
  fedit: {
    tuning: 'lora',
    data: 'clients',
    adapters: 'shared',
    grouping: 'together',
    summary: 'one adapter per client for all its tasks, averaged over all clients (Zhang et al., 2024)',
  },
  local: {
    tuning: 'lora',
    data: 'clients',
    adapters: 'per_task',
    grouping: 'none',
    summary: 'an adapter per client and task, never averaged',
  },
  oracle: {
    tuning: 'lora',
    data: 'clients',
    adapters: 'per_task',
    grouping: 'true_task',
    summary: 'an adapter per client and task, averaged by the true task: the upper bound of clustering',
  },
  centralized: {
    tuning: 'lora',
    data: 'pooled',
    adapters: 'per_task',
    grouping: 'none',
    summary: "an adapter per task, trained on all clients' rows in one place",
  },
  full: {
    tuning: 'full',
    data: 'pooled',
    adapters: 'per_task',
    grouping: 'none',
    summary: "full fine-tuning: a whole model per task, trained on all clients' rows in one place",
  },
  none: {
    tuning: 'lora',
    data: 'clients',
    adapters: 'none',
    grouping: 'none',
    summary: 'the untuned backbone with the common initial adapter',
  },
};

/** AdamW's learning rate of a method: all weights together want a smaller one than LoRA's factors. */
export function learningRate({ tuning }: Pick<Method, 'tuning'>, rates: { lr: number; fullLr: number }): number {
  return tuning === 'full' ? rates.fullLr : rates.lr;
}

/** How a shared adapter's local steps relate to its tasks. */
export type StepSplit = 'published' | 'full';

const SPLITS: Readonly<Record<StepSplit, (localSteps: number, tasks: number) => number>> = {
  // The published code floors: 10 steps over 3, 4 and 3 tasks are 9 + 8 + 9 = 26 optimiser steps a round.
  published: (localSteps, tasks) => Math.max(1, Math.floor(localSteps / tasks)),
  full: (localSteps) => localSteps,
};

/** How many steps pooled rows get in a round: as many as all their holders together, or as one of them. */
export type PooledSteps = 'total' | 'local';

const POOLED: Readonly<Record<PooledSteps, (localSteps: number, holders: number) => number>> = {
  total: (localSteps, holders) => localSteps * holders,
  local: (localSteps) => localSteps,
};

/** What the number of steps depends on; RunConfig has these fields. */
export interface StepSettings {
  /** configured steps of one local fine-tune */
  readonly localSteps: number;
  /** matters to shared adapters only */
  readonly feditSteps: StepSplit;
  /** matters to pooled rows only */
  readonly centralizedSteps: PooledSteps;
}

/**
 * Optimiser steps that one adapter takes on one of its tasks in a round.
 *
 * @param tasks number of tasks that the adapter is trained on
 * @param holders number of clients whose rows it is trained on
 */
export function stepsPerTask(
  { data, adapters }: Pick<Method, 'data' | 'adapters'>,
  settings: StepSettings,
  { tasks, holders }: { tasks: number; holders: number },
): number {
  if (adapters === 'none') return 0;
  if (data === 'pooled') return POOLED[settings.centralizedSteps](settings.localSteps, holders);
  return adapters === 'shared' ? SPLITS[settings.feditSteps](settings.localSteps, tasks) : settings.localSteps;
}
