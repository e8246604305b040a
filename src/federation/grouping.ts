/**
 * A round's grouping. This is the one place that has both the adapters and the true tasks at hand; a grouping is given
 * one of them.
 */
import type { KmeansMetric, KmeansSpace } from '../engine/types.js';
import type { Bank, Engine } from './engine.js';
import type { Method } from './methods.js';
import type { Plan } from './plan.js';
import { GROUPINGS, kmeansSeed, type Assignment, type Submission } from './server.js';
import type { FederationSettings } from './settings.js';

type GroupingSettings = Pick<
  FederationSettings,
  | 'seed'
  | 'kmeansK'
  | 'kmeansSpace'
  | 'kmeansMetric'
  | 'kmeansStandardize'
  | 'kmeansNInit'
  | 'kmeansMaxIter'
  | 'kmeansTol'
>;

export interface GroupOptions {
  engine: Engine;
  bank: Bank;
  plan: Plan;
  method: Pick<Method, 'grouping'>;
  settings: GroupingSettings;
  round: number;
  signal?: AbortSignal | undefined;
  /** tells the user of a fallback */
  announce: (message: string) => void;
}

/** Groups submissions as the method does. @throws FltacError as the engine's `kmeans` */
export async function groupSubmissions(submissions: readonly Submission[], options: GroupOptions): Promise<Assignment> {
  const { engine, bank, plan, method, settings, signal, announce } = options;
  const grouping = GROUPINGS[method.grouping];
  const k = clustersAsked(settings, plan);
  const truth = truthOf(plan, submissions);
  if (method.grouping === 'kmeans') tellOfAbsentTasks(k, plan, truth, announce);
  if (grouping.sees === 'truth') return grouping.group(truth);
  return grouping.group({
    engine,
    bank,
    submissions,
    k,
    kmeans: {
      nInit: settings.kmeansNInit,
      maxIter: settings.kmeansMaxIter,
      tol: settings.kmeansTol,
      ...clusteringSpace(settings),
    },
    seed: kmeansSeed(settings.seed, options.round),
    signal,
    announce,
  });
}

/** Clusters that K-means is asked for. */
export function clustersAsked({ kmeansK }: Pick<GroupingSettings, 'kmeansK'>, plan: Plan): number | 'auto' {
  return kmeansK === 'tasks' ? plan.tasks.length : kmeansK;
}

/** The space that K-means clusters in. */
export function clusteringSpace(
  settings: Pick<GroupingSettings, 'kmeansSpace' | 'kmeansMetric' | 'kmeansStandardize'>,
): { space: KmeansSpace; metric: KmeansMetric; standardize: boolean } {
  return { space: settings.kmeansSpace, metric: settings.kmeansMetric, standardize: settings.kmeansStandardize };
}

/** Index of the task that each submission was trained on, of several the first. */
function truthOf(plan: Plan, submissions: readonly Submission[]): number[] {
  const key = ({ client, slot }: { client: number; slot: number }) => `${client}/${slot}`;
  const tasks = new Map(plan.adapters.map((adapter) => [key(adapter), adapter.parts[0]!.task]));
  return submissions.map((submission) => tasks.get(key(submission))!);
}

/** For the user alone: the server cannot know it. */
function tellOfAbsentTasks(
  k: number | 'auto',
  { tasks }: Plan,
  truth: readonly number[],
  announce: (message: string) => void,
): void {
  const present = new Set(truth).size;
  if (k === 'auto' || present >= Math.min(k, tasks.length) || truth.length <= k) return;
  announce(
    `the adapters of a round were of ${present} of ${tasks.length} tasks only: K-means makes K = ${k} clusters all the ` +
      'same, so adapters of one task may be parted',
  );
}
