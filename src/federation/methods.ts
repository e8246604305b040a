/**
 * The methods as a table: which adapters a client keeps, and how the server groups what it receives. Nothing else in
 * fltac branches on a method's name.
 */

/** Which adapters a client keeps: one for each task it holds data for, one for all of them, or none that is trained. */
export type Keeping = 'per_task' | 'shared' | 'none';

/** How the server groups adapters before it averages inside each group; see GROUPINGS in server.ts. */
export type GroupingName = 'kmeans' | 'together' | 'true_task' | 'none';

export interface Method {
  readonly adapters: Keeping;
  readonly grouping: GroupingName;
  /** one line for people */
  readonly summary: string;
}

export type MethodName = 'fltac' | 'fedit' | 'local' | 'oracle' | 'none';

export const METHODS: Readonly<Record<MethodName, Method>> = {
  fltac: {
    adapters: 'per_task',
    grouping: 'kmeans',
    summary: 'an adapter per client and task, clustered by K-means and averaged in each cluster (Ping et al., 2024)',
  },
  fedit: {
    adapters: 'shared',
    grouping: 'together',
    summary: 'one adapter per client for all its tasks, averaged over all clients (Zhang et al., 2024)',
  },
  local: { adapters: 'per_task', grouping: 'none', summary: 'an adapter per client and task, never averaged' },
  oracle: {
    adapters: 'per_task',
    grouping: 'true_task',
    summary: 'an adapter per client and task, averaged by the true task: the upper bound of clustering',
  },
  none: { adapters: 'none', grouping: 'none', summary: 'the untuned backbone with the common initial adapter' },
};

/** How a shared adapter's local steps relate to its tasks. */
export type StepSplit = 'published' | 'full';

const SPLITS: Readonly<Record<StepSplit, (localSteps: number, tasks: number) => number>> = {
  // The published code floors: 10 steps over 3, 4 and 3 tasks are 9 + 8 + 9 = 26 optimiser steps a round.
  published: (localSteps, tasks) => Math.max(1, Math.floor(localSteps / tasks)),
  full: (localSteps) => localSteps,
};

/**
 * Optimiser steps a client takes on each task of one adapter in a round.
 *
 * @param keeping which adapters the client keeps
 * @param split `fedit_steps`; matters to shared adapters only
 * @param localSteps configured steps of one local fine-tune
 * @param tasks number of tasks this adapter is trained on
 */
export function stepsPerTask(keeping: Keeping, split: StepSplit, localSteps: number, tasks: number): number {
  if (keeping === 'none') return 0;
  return keeping === 'shared' ? SPLITS[split](localSteps, tasks) : localSteps;
}
