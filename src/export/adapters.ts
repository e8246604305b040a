/** The adapters of a saved round, read from the run's folder alone: neither model nor data are needed. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { RunConfig } from '../config/schema.js';
import type { AdapterLayout, AdapterSpec, ArchitectureInfo } from '../engine/types.js';
import { FltacError, messageOf } from '../errors.js';
import type { EngineFace } from '../federation/engine.js';
import { METHODS } from '../federation/methods.js';
import type { Plan } from '../federation/plan.js';
import { readRoundAdapters, roundFile, type AdapterBase } from '../run/artifacts.js';
import { RUN_FILES } from '../run/folder.js';
import { findRound, readRunConfig } from '../run/saved.js';
import { gatherEvidence, planEvidence } from '../run/verify/evidence.js';

/** The adapter that most of a task's samples are behind, or that of a cluster asked for by number. */
export interface ChosenAdapter {
  /** the task's name, or `cluster_<c>` */
  name: string;
  cluster: number;
  /** layout.size values */
  flat: Float32Array;
  /** share of the task's training samples whose clients hold it; 1 for a cluster asked for by number */
  share: number;
  /** tasks that the cluster's submissions were truly trained on */
  tasks: readonly string[];
}

/** A saved round and what its adapters belong to. */
export interface RoundOfRun {
  /** absolute path of the run's folder */
  folder: string;
  config: RunConfig;
  round: number;
  layout: AdapterLayout;
  spec: AdapterSpec;
  base: AdapterBase;
  family: string;
  output: ArchitectureInfo['output'];
  adapters: readonly ChosenAdapter[];
}

export interface ChooseOptions {
  folder: string;
  /** default: the last saved round */
  round?: number | undefined;
  /** default: all of the run's */
  tasks?: readonly string[] | undefined;
  /** in place of tasks: clusters by number */
  clusters?: readonly number[] | undefined;
}

const ENVIRONMENT = z.object({
  model: z.object({ id: z.string(), revision: z.string(), family: z.string() }),
  head: z.object({ output: z.enum(['classes', 'next_token']), labels: z.number().int() }).optional(),
});

/**
 * Reads a round's adapters and chooses those that are asked for.
 *
 * @throws FltacError USAGE for a folder, round, task or cluster that is not there; FORMAT naming a broken file
 */
export async function readRoundOfRun(face: EngineFace, options: ChooseOptions): Promise<RoundOfRun> {
  const { folder, round, hasFile } = await findRound(options.folder, options.round);
  if (!hasFile) {
    throw new FltacError('USAGE', `round ${round} is the untrained backbone: it has no adapter to export`);
  }
  const config = readRunConfig(folder);
  const environment = await readEnvironment(folder);
  const file = roundFile(folder, round);
  const { layout, labels, held = labels, states } = await readRoundAdapters(face, file);
  const { plan } = await planEvidence(await gatherEvidence(folder, face, config));
  if (held.length !== plan.adapters.length) {
    throw new FltacError(
      'FORMAT',
      `${file} is of ${held.length} adapters, the run's clients hold ${plan.adapters.length}`,
    );
  }
  const groups = groupByHeld(plan, held, [...states.keys()]);
  const picked =
    options.clusters === undefined
      ? pickTasks(groups, options.tasks ?? config.tasks, config.tasks, options.tasks !== undefined)
      : pickClusters(groups, options.clusters, folder);
  if (picked.length === 0)
    throw new FltacError('USAGE', `no client of the run in ${folder} holds an adapter of its tasks`);
  return {
    folder,
    config,
    round,
    layout,
    spec: specOf(config, layout, environment.head?.labels),
    family: environment.model.family,
    base: { id: environment.model.id, revision: environment.model.revision },
    output: environment.head?.output ?? (config.trainHead ? 'classes' : outputOf(environment.model.family)),
    adapters: picked.map(({ name, group, share }) => ({
      name,
      cluster: group.cluster,
      flat: states.get(group.cluster)!,
      share,
      tasks: [...group.samples.keys()],
    })),
  };
}

/** A cluster's training samples by true task. */
interface Group {
  cluster: number;
  samples: Map<string, number>;
}

/** What is in the clients' hands: an adapter that absent clients kept from an earlier round counts like any other. */
function groupByHeld(plan: Plan, held: readonly number[], clusters: readonly number[]): Group[] {
  const groups = new Map(clusters.map((cluster) => [cluster, { cluster, samples: new Map<string, number>() }]));
  plan.adapters.forEach(({ parts }, i) => {
    const { samples } = groups.get(held[i]!)!;
    for (const part of parts) {
      const task = plan.tasks[part.task]!;
      samples.set(task, (samples.get(task) ?? 0) + part.samples);
    }
  });
  return [...groups.values()].sort((a, b) => a.cluster - b.cluster);
}

interface Picked {
  name: string;
  group: Group;
  share: number;
}

/** @param strict whether the tasks were asked for by name, so that one without a holder is an error */
function pickTasks(
  groups: readonly Group[],
  wanted: readonly string[],
  known: readonly string[],
  strict: boolean,
): Picked[] {
  const strange = wanted.filter((task) => !known.includes(task));
  if (strange.length > 0) {
    throw new FltacError('USAGE', `the run has no task ${strange.join(', ')}; it has ${known.join(', ')}`);
  }
  return [...new Set(wanted)].flatMap((task) => {
    const holding = groups.filter((group) => group.samples.has(task));
    const [group] = [...holding].sort((a, b) => b.samples.get(task)! - a.samples.get(task)! || a.cluster - b.cluster);
    if (group !== undefined) {
      const total = holding.reduce((sum, other) => sum + other.samples.get(task)!, 0);
      return [{ name: task, group, share: group.samples.get(task)! / total }];
    }
    if (strict) throw new FltacError('USAGE', `no client of the run holds an adapter of task ${task}`);
    return [];
  });
}

function pickClusters(groups: readonly Group[], wanted: readonly number[], folder: string): Picked[] {
  return [...new Set(wanted)].map((cluster) => {
    const group = groups.find((other) => other.cluster === cluster);
    if (group !== undefined) return { name: `cluster_${cluster}`, group, share: 1 };
    const known = groups.map((other) => other.cluster).join(', ');
    throw new FltacError('USAGE', `the round saved in ${folder} has no cluster ${cluster}; it has ${known}`);
  });
}

async function readEnvironment(folder: string): Promise<z.infer<typeof ENVIRONMENT>> {
  const file = path.join(folder, RUN_FILES.environment);
  try {
    return ENVIRONMENT.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw new FltacError('FORMAT', `${file}: expected the environment record of a run (${messageOf(cause)})`, {
      cause,
    });
  }
}

/** @param labels of the head, where the run recorded it; else as the trained head has them, or 2 */
function specOf(config: RunConfig, layout: AdapterLayout, labels: number | undefined): AdapterSpec {
  const head = layout.tensors.filter(({ name }) => name.includes('.modules_to_save.')).at(-1);
  return {
    tuning: METHODS[config.method].tuning,
    rank: config.loraRank,
    loraAlpha: config.loraAlpha,
    loraDropout: config.loraDropout,
    targetModules: config.targetModules,
    numLabels: labels ?? head?.shape[0] ?? 2,
    trainHead: config.trainHead,
  };
}

/** Of runs that did not record it: language models are those of the families that have no head of classes. */
function outputOf(family: string): ArchitectureInfo['output'] {
  return ['llama', 'mistral', 'qwen2'].includes(family) ? 'next_token' : 'classes';
}
