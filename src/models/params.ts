/**
 * How many parameters each method trains and how much a client uploads, counted from shapes alone: no weights, and for
 * well-known models no download.
 */
import { BYTES_PER_VALUE, countAdapter, countHead, grouped } from './counting.js';
import type { AdapterCount, Shapes } from './counting.js';
import { declaredClasses, formOf } from '../config/custom-tasks.js';
import { NUM_LABELS } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { knownTaskSizes } from '../data/scenario.js';
import { FltacError } from '../errors.js';
import * as engine from '../engine/index.js';
import { partitionTasks } from '../federation/partition.js';
import type { Log } from '../run/log.js';
import { readModelConfig } from './model-config.js';
import { countPublished, type PublishedTable } from './published.js';

export interface MethodCount {
  /** what is trained, e.g. "fltac, rank 4" */
  method: string;
  /** trained values of the whole method */
  trainable: number;
  /** how `trainable` comes about */
  derivation: string;
  /** most bytes that a client uploads in a round; null where nothing is federated */
  uploadMost: number | null;
  /** mean over the clients of this partition; null as above, or where the tasks' sizes are not known */
  uploadMean: number | null;
}

export interface ParamsReport {
  scenario: string;
  model: string;
  family: string;
  /** values of the backbone */
  backbone: number;
  tasks: readonly string[];
  /** one adapter of the configuration */
  adapter: AdapterCount;
  methods: readonly MethodCount[];
  /** the paper's counts for this scenario, computed from the shapes; null where there are none */
  published: PublishedTable | null;
}

/** @throws UNSUPPORTED for a family that the engine does not know; USAGE, FORMAT, NETWORK, IO */
export async function countParameters(
  config: RunConfig,
  context: { log: Log; signal: AbortSignal },
  shapes: Shapes = engine,
): Promise<ParamsReport> {
  const { text, source } = await readModelConfig(config, context);
  const info = shapes.describeArchitecture(text, source);
  const numLabels = headWidth(config);
  const { targetModules, trainHead } = config;
  const count = (rank: number) => countAdapter(shapes, text, { rank, targetModules, numLabels, trainHead });
  const adapter = count(config.loraRank);
  return {
    scenario: config.scenario,
    model: config.modelName,
    family: info.family,
    backbone: info.parameters,
    tasks: config.tasks,
    adapter,
    methods: countMethods(
      config,
      adapter,
      count,
      info.parameters,
      countHead(shapes, text, { targetModules, numLabels }),
    ),
    published: countPublished(config.scenario, shapes) ?? null,
  };
}

/** Classes of the shared head; 0 where there is none. @throws USAGE where only the rows of a custom task tell them */
function headWidth({ scenario, data, tasks }: RunConfig): number {
  if (scenario !== 'custom') return NUM_LABELS[scenario];
  const widths = tasks.map((name) => {
    const task = data![name]!;
    const count = formOf(task) === 'instruction' ? 0 : declaredClasses(task);
    if (count !== undefined) return count;
    throw new FltacError('USAGE', `data.${name}: params reads no rows, so the classes must be listed: add classes`);
  });
  return Math.max(...widths);
}

function countMethods(
  config: RunConfig,
  adapter: AdapterCount,
  count: (rank: number) => AdapterCount,
  backbone: number,
  head: number,
): MethodCount[] {
  const tasks = config.tasks.length;
  const total = tasks * adapter.values;
  const held = meanTasksHeld(config);
  const perTask = `${tasks} ${tasks === 1 ? 'task' : 'tasks'} x (${adapter.parts})`;
  const shared = (of: AdapterCount) => ({
    trainable: of.values,
    uploadMost: of.values * BYTES_PER_VALUE,
    uploadMean: of.values * BYTES_PER_VALUE,
  });
  const equal = count(equalRank(adapter, count(1), total));
  const mean = held === null ? null : held * adapter.values * BYTES_PER_VALUE;
  return [
    {
      method: `fltac or oracle, rank ${adapter.rank}`,
      trainable: total,
      derivation: perTask,
      uploadMost: total * BYTES_PER_VALUE,
      uploadMean: mean,
    },
    { method: `local, rank ${adapter.rank}`, trainable: total, derivation: perTask, uploadMost: 0, uploadMean: 0 },
    { method: `fedit, rank ${adapter.rank}`, derivation: adapter.parts, ...shared(adapter) },
    { method: `fedit, rank ${equal.rank} (at most fltac's total)`, derivation: equal.parts, ...shared(equal) },
    {
      method: 'full fine-tuning',
      trainable: backbone + head,
      derivation: `${grouped(backbone)} backbone + ${grouped(head)} head`,
      uploadMost: null,
      uploadMean: null,
    },
  ];
}

/** The largest rank of one adapter with at most `total` values. */
function equalRank(adapter: AdapterCount, unit: AdapterCount, total: number): number {
  return Math.max(1, Math.floor((total - adapter.head) / unit.lora));
}

/** Tasks that a client holds data of, averaged over the clients; null where sizes are only known after a download. */
function meanTasksHeld(config: RunConfig): number | null {
  const sizes = knownTaskSizes(config.scenario, config.tasks);
  if (sizes === undefined) return null;
  const { nClients, dirichletAlpha, minFrac, seed, partitionOrder: order } = config;
  const { rows } = partitionTasks(sizes, { nClients, dirichletAlpha, minFrac, seed, order });
  const held = rows.flat().filter((part) => part.length > 0).length;
  return held / nClients;
}
