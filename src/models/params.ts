/**
 * How many parameters each method trains and how much a client uploads, counted from shapes alone: no weights, and for
 * well-known models no download.
 */
import { countAdapter, countHead, grouped, layoutOf } from './counting.js';
import type { AdapterCount, ShapeSpec, Shapes } from './counting.js';
import { declaredClasses, formOf } from '../config/custom-tasks.js';
import { NUM_LABELS } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { knownTaskSizes } from '../data/scenario.js';
import { FltacError } from '../errors.js';
import * as engine from '../engine/index.js';
import type { ArchitectureInfo } from '../engine/types.js';
import { AGGREGATIONS } from '../federation/aggregation.js';
import { UPLOAD_FORMATS, adapterBytes, type UploadFormatName } from '../federation/communication.js';
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
  /** most bytes that a client uploads in a round, in the configured format; null where nothing is federated */
  uploadMost: number | null;
  /** mean over the clients of this partition; null as above, or where the tasks' sizes are not known */
  uploadMean: number | null;
}

/** Bytes up of a client in a round in one upload format, at the configured rank and aggregation. */
export interface UploadCount {
  format: UploadFormatName;
  /** of one adapter, which is all that a client of fedit sends */
  adapter: number;
  /** of a client of fltac that holds all tasks, and of the mean one; null where the tasks' sizes are not known */
  most: number;
  mean: number | null;
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
  /** what of an adapter is sent, and in which formats */
  aggregation: RunConfig['aggregation'];
  uploads: readonly UploadCount[];
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
  const specOf = (rank: number): ShapeSpec => ({ rank, targetModules, numLabels, trainHead });
  const { freezesA } = AGGREGATIONS[config.aggregation];
  const trained = (rank: number) => countAdapter(shapes, text, specOf(rank), freezesA);
  const bytes = (rank: number, format: UploadFormatName) =>
    adapterBytes(layoutOf(shapes, text, specOf(rank)), format, AGGREGATIONS[config.aggregation]);
  const adapter = countAdapter(shapes, text, specOf(config.loraRank));
  const head = countHead(shapes, text, { targetModules, numLabels });
  return {
    scenario: config.scenario,
    model: config.modelName,
    family: info.family,
    backbone: info.parameters,
    tasks: config.tasks,
    adapter,
    methods: countMethods(config, adapter, { trained, bytes, head, info }),
    aggregation: config.aggregation,
    uploads: countUploads(config, (format) => bytes(config.loraRank, format)),
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

/** Counts of the model that methods are made of. */
interface Counts {
  /** of one adapter whose rounds the configured aggregation averages */
  trained: (rank: number) => AdapterCount;
  /** of one adapter on its way up */
  bytes: (rank: number, format: UploadFormatName) => number;
  /** that full fine-tuning trains */
  head: number;
  info: Pick<ArchitectureInfo, 'parameters' | 'hiddenSize'>;
}

function countMethods(config: RunConfig, adapter: AdapterCount, { trained, bytes, head, info }: Counts): MethodCount[] {
  const tasks = config.tasks.length;
  const held = meanTasksHeld(config);
  const perTask = (values: number, parts: string) => ({
    trainable: tasks * values,
    derivation: `${tasks} ${tasks === 1 ? 'task' : 'tasks'} x (${parts})`,
  });
  const own = perTask(adapter.values, adapter.parts);
  const averaged = trained(adapter.rank);
  const fltac = perTask(averaged.values, averaged.parts);
  const bytesOf = (rank: number) => bytes(rank, config.uploadFormat);
  const sent = bytesOf(adapter.rank);
  const shared = (of: AdapterCount) => ({
    ...{ trainable: of.values, derivation: of.parts },
    ...{ uploadMost: bytesOf(of.rank), uploadMean: bytesOf(of.rank) },
  });
  const equal = trained(Math.min(info.hiddenSize, equalRank(averaged, trained(1), fltac.trainable)));
  const mean = held === null ? null : held * sent;
  const nothing = { uploadMost: null, uploadMean: null };
  const whole = `${grouped(info.parameters)} backbone + ${grouped(head)} head`;
  return [
    { method: `fltac or oracle, rank ${adapter.rank}`, ...fltac, uploadMost: tasks * sent, uploadMean: mean },
    { method: `local, rank ${adapter.rank}`, ...own, uploadMost: 0, uploadMean: 0 },
    { method: `fedit, rank ${adapter.rank}`, ...shared(averaged) },
    { method: `fedit, rank ${equal.rank} (at most fltac's total)`, ...shared(equal) },
    { method: `centralized, rank ${adapter.rank}`, ...own, ...nothing },
    { method: 'full', ...perTask(info.parameters + head, whole), ...nothing },
  ];
}

function countUploads(config: RunConfig, bytes: (format: UploadFormatName) => number): UploadCount[] {
  const held = meanTasksHeld(config);
  return (Object.keys(UPLOAD_FORMATS) as UploadFormatName[]).map((format) => {
    const adapter = bytes(format);
    const mean = held === null ? null : held * adapter;
    return { format, adapter, most: config.tasks.length * adapter, mean };
  });
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
