/** The files of a run's folder that are written whole: adapters of a round, final PEFT directories, the records. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type {
  AdapterLayout,
  AdapterSpec,
  ArchitectureInfo,
  ArchiveDict,
  ArchiveTensor,
  ArchiveValue,
} from '../engine/types.js';
import { FltacError, messageOf } from '../errors.js';
import type { EngineFace } from '../federation/engine.js';
import { flattenAdapter, plainName } from '../federation/initial.js';
import type { SentAdapter } from '../federation/outcome.js';
import type { Partition } from '../federation/partition.js';
import { writeJsonFile } from './files.js';
import { RUN_FILES } from './folder.js';

/** What `adapters_round_<t>.pt` holds. */
export interface RoundAdapters {
  round: number;
  layout: AdapterLayout;
  /** flat adapter of each cluster, layout.size values; above the labels those that absent clients kept */
  states: ReadonlyMap<number, Float32Array>;
  /** per submission: client, then listed task */
  labels: readonly number[];
  trueTasks: readonly string[];
  /** what all clients hold, absent ones too: a key of `states` for each of their adapters; absent where it is `labels` */
  held?: readonly number[];
}

export function initialFile(folder: string): string {
  return path.join(folder, RUN_FILES.initial);
}

export function roundFile(folder: string, round: number): string {
  return path.join(folder, `adapters_round_${round}.pt`);
}

/** The rounds that have such a file among the names in a run's folder, in order. */
export function savedRoundsOf(names: readonly string[]): number[] {
  return names
    .flatMap((name) => /^adapters_round_(\d+)\.pt$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Whether a run keeps the adapters of a round in a file. */
export function savesAt(round: number, rounds: number, { saveEvery }: { saveEvery: number }): boolean {
  return round === rounds || (saveEvery > 0 && round % saveEvery === 0);
}

export function submissionsFile(folder: string, round: number): string {
  return path.join(folder, `submissions_round_${round}.safetensors`);
}

/** The name of one submission in a submissions file. */
export function submissionName(client: number, trueTask: string): string {
  return `${client}.${trueTask}`;
}

/**
 * Writes the adapters of a round as clients sent them, each a flat tensor in the layout's order.
 *
 * @throws FltacError IO
 */
export async function writeSubmissions(
  face: EngineFace,
  folder: string,
  round: number,
  adapters: readonly SentAdapter[],
): Promise<void> {
  const tensors = adapters.map(
    ({ client, trueTask, values }) =>
      [submissionName(client, trueTask), { shape: [values.length], data: values }] as const,
  );
  await face.writeSafetensors(submissionsFile(folder, round), new Map(tensors), { round: String(round) });
}

/** The tensors of a flat adapter by name, as views of it. */
export function namedTensors(
  layout: AdapterLayout,
  flat: Float32Array,
  rename: (name: string) => string = (name) => name,
): Map<string, ArchiveTensor> {
  return new Map(
    layout.tensors.map(({ name, shape, offset }) => {
      const size = shape.reduce((product, side) => product * side, 1);
      return [rename(name), { shape, data: flat.subarray(offset, offset + size) }];
    }),
  );
}

/**
 * Writes what torch.load(weights_only=True) reads as {round, cluster_states {cluster: {name: tensor}}, labels,
 * true_tasks}, with `held` where not all clients took part; reads it back and compares every value.
 *
 * @throws FltacError IO; INTERNAL when it does not read back equal
 */
export async function writeRoundAdapters(face: EngineFace, folder: string, adapters: RoundAdapters): Promise<void> {
  const file = roundFile(folder, adapters.round);
  const states = new Map([...adapters.states].map(([label, flat]) => [label, namedTensors(adapters.layout, flat)]));
  const value: ArchiveValue = new Map<string, ArchiveValue>([
    ['round', adapters.round],
    ['cluster_states', states],
    ['labels', adapters.labels],
    ['true_tasks', adapters.trueTasks],
    ...(adapters.held === undefined ? [] : [['held', adapters.held] as const]),
  ]);
  await face.writeArchive(file, value);
  const back = await readRoundAdapters(face, file, adapters.layout);
  for (const [label, flat] of adapters.states) {
    const read = back.states.get(label);
    if (read?.every((x, i) => x === flat[i]) === true) continue;
    throw new FltacError('INTERNAL', `${file}: cluster ${label} does not read back as it was written`);
  }
}

/**
 * Reads a round file.
 *
 * @param expected the layout that its adapters must have; without one, that of the file's first adapter
 * @throws FltacError IO, FORMAT for another structure, SHAPE for adapters of another layout
 */
export async function readRoundAdapters(
  face: Pick<EngineFace, 'readArchive'>,
  file: string,
  expected?: AdapterLayout,
): Promise<RoundAdapters> {
  const value = await face.readArchive(file);
  const dict = asDict(value, file, 'the top level');
  const layout = expected ?? layoutOf(asDict(dict.get('cluster_states'), file, 'cluster_states'), file);
  const states = new Map<number, Float32Array>();
  for (const [label, state] of asDict(dict.get('cluster_states'), file, 'cluster_states')) {
    if (typeof label !== 'number') throw badRoundFile(file, `cluster_states has the key ${label}, not an int`);
    states.set(label, flattenState(asDict(state, file, `cluster ${label}`), layout, file, label));
  }
  const labels = asList(dict.get('labels'), file, 'labels').map((label) => asInt(label, file, 'a label'));
  const trueTasks = asList(dict.get('true_tasks'), file, 'true_tasks').map((task) => {
    if (typeof task !== 'string') throw badRoundFile(file, 'true_tasks has an entry that is not a str');
    return task;
  });
  if (labels.length !== trueTasks.length) {
    throw badRoundFile(file, `${labels.length} labels but ${trueTasks.length} true_tasks`);
  }
  const held = dict.has('held')
    ? { held: asList(dict.get('held'), file, 'held').map((number) => asInt(number, file, 'a held adapter')) }
    : {};
  const missing = [...labels, ...(held.held ?? [])].find((label) => !states.has(label));
  if (missing !== undefined) throw badRoundFile(file, `label ${missing} has no cluster state`);
  return { round: asInt(dict.get('round'), file, 'round'), layout, states, labels, trueTasks, ...held };
}

/** The layout of the first of several states. */
function layoutOf(states: ArchiveDict, file: string): AdapterLayout {
  const [first] = states.values();
  const tensors = [...asDict(first, file, 'the first cluster')].map(([name, tensor]): [string, ArchiveTensor] => {
    if (typeof name !== 'string' || !isTensor(tensor)) throw badRoundFile(file, `${name} is not a named tensor`);
    return [name, tensor];
  });
  return layoutOfTensors(new Map(tensors));
}

/** Tensors as an adapter's layout: in byte order of their names, without gaps. */
export function layoutOfTensors(tensors: ReadonlyMap<string, ArchiveTensor>): AdapterLayout {
  const inOrder = [...tensors].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  let size = 0;
  const laid = inOrder.map(([name, { shape, data }]) => {
    const offset = size;
    size += data.length;
    return { name, shape, offset };
  });
  return { tensors: laid, size };
}

function flattenState(state: ArchiveDict, layout: AdapterLayout, file: string, label: number): Float32Array {
  const flat = new Float32Array(layout.size);
  const unknown = new Set(state.keys());
  for (const { name, shape, offset } of layout.tensors) {
    const tensor = state.get(name);
    unknown.delete(name);
    if (!isTensor(tensor) || tensor.shape.join() !== shape.join()) {
      const found = isTensor(tensor) ? `shape [${tensor.shape.join(', ')}]` : 'nothing';
      throw new FltacError(
        'SHAPE',
        `${file}: ${name} of cluster ${label}: expected shape [${shape.join(', ')}], found ${found}`,
      );
    }
    flat.set(tensor.data, offset);
  }
  if (unknown.size > 0) {
    const names = [...unknown].join(', ');
    throw new FltacError('SHAPE', `${file}: cluster ${label} holds tensors that the adapter lacks: ${names}`);
  }
  return flat;
}

function isTensor(value: ArchiveValue | undefined): value is ArchiveTensor {
  return typeof value === 'object' && value !== null && 'shape' in value && 'data' in value;
}

function asDict(value: ArchiveValue | undefined, file: string, what: string): ArchiveDict {
  if (value instanceof Map) return value as ArchiveDict;
  throw badRoundFile(file, `${what} is not a dict`);
}

function asList(value: ArchiveValue | undefined, file: string, what: string): readonly ArchiveValue[] {
  if (Array.isArray(value)) return value as readonly ArchiveValue[];
  throw badRoundFile(file, `${what} is not a list`);
}

function asInt(value: ArchiveValue | undefined, file: string, what: string): number {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number)) return number;
  throw badRoundFile(file, `${what} is not an int`);
}

function badRoundFile(file: string, what: string): FltacError {
  return new FltacError('FORMAT', `${file} is not a round file of fltac: ${what}`);
}

/**
 * Writes the common initial adapter with PEFT's `named_parameters` names, so that it can be told later what was trained.
 *
 * @throws FltacError IO; INTERNAL when it does not read back equal
 */
export async function writeInitialAdapter(
  face: EngineFace,
  folder: string,
  layout: AdapterLayout,
  flat: Float32Array,
): Promise<void> {
  await writeAdapterFile(face, initialFile(folder), layout, namedTensors(layout, flat), flat);
}

/** Writes named tensors of a flat adapter, and compares what is read back. @throws FltacError IO; INTERNAL */
export async function writeAdapterFile(
  face: EngineFace,
  file: string,
  layout: AdapterLayout,
  tensors: Map<string, ArchiveTensor>,
  flat: Float32Array,
): Promise<void> {
  await face.writeSafetensors(file, tensors, { format: 'pt' });
  const back = flattenAdapter(await face.readSafetensors(file), layout, file);
  if (back.every((value, i) => value === flat[i])) return;
  throw new FltacError('INTERNAL', `${file} does not read back as it was written`);
}

/** The backbone that an adapter belongs to. */
export interface AdapterBase {
  id: string;
  revision: string;
}

/** Names of what `writePeftDirectory` writes. */
export const PEFT_FILES = ['adapter_model.safetensors', 'adapter_config.json'] as const;

/**
 * Writes an adapter as a directory that PEFT loads: adapter_model.safetensors and adapter_config.json.
 *
 * @throws FltacError IO; INTERNAL when the tensors do not read back equal
 */
export async function writePeftDirectory(
  face: EngineFace,
  folder: string,
  adapter: {
    layout: AdapterLayout;
    flat: Float32Array;
    spec: AdapterSpec;
    base: AdapterBase;
    kind: Pick<ArchitectureInfo, 'input' | 'output'>;
  },
): Promise<void> {
  const { layout, flat, spec, base, kind } = adapter;
  const task = peftTask(spec, kind);
  await makeFolder(folder);
  const file = path.join(folder, PEFT_FILES[0]);
  await writeAdapterFile(face, file, layout, namedTensors(layout, flat, plainName), flat);
  await writeJsonFile(path.join(folder, PEFT_FILES[1]), {
    base_model_name_or_path: base.id,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: spec.loraAlpha,
    lora_dropout: spec.loraDropout,
    modules_to_save: spec.trainHead ? savedModules(layout, task) : null,
    peft_type: 'LORA',
    r: spec.rank,
    // null stands for the newest; a local folder has none
    revision: base.revision === 'local' ? null : base.revision,
    target_modules: spec.targetModules,
    task_type: task,
  });
}

/**
 * Without a task type PEFT leaves an untrained classification head alone instead of asking the file for it, and it has no
 * type for images.
 */
function peftTask({ trainHead }: AdapterSpec, kind: Pick<ArchitectureInfo, 'input' | 'output'>): string | null {
  if (kind.output === 'next_token') return 'CAUSAL_LM';
  return trainHead && kind.input === 'tokens' ? 'SEQ_CLS' : null;
}

/** PEFT's SEQ_CLS wraps heads of the first two names, whichever the model has; some models have a layer more. */
function savedModules(layout: AdapterLayout, task: string | null): string[] {
  const found = layout.tensors.map(({ name }) => /^base_model\.model\.(.*)\.modules_to_save\./.exec(name)?.[1]);
  const wrapped = task === 'SEQ_CLS' ? ['classifier', 'score'] : [];
  return [...new Set([...wrapped, ...found.filter((name) => name !== undefined)])];
}

/** Where the final adapter of a task lies. */
export function finalFolder(folder: string, task: string): string {
  return path.join(folder, RUN_FILES.final, task);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new FltacError('IO', `${folder} cannot be made: ${messageOf(cause)}`, { cause });
  }
}

export interface PartitionRecordOptions {
  seed: number;
  partitionOrder: string;
  dirichletAlpha: number;
  minFrac: number;
}

/**
 * What partition.json holds: how the rows were split, their number per client and task (columns as `tasks`), and a
 * SHA-256 of each client's rows of each task, in drawn order as little-endian int64 (null where it has none).
 */
export function partitionRecord(partition: Partition, options: PartitionRecordOptions): Record<string, unknown> {
  return {
    seed: options.seed,
    partition_order: options.partitionOrder,
    dirichlet_alpha: options.dirichletAlpha,
    min_frac: options.minFrac,
    n_clients: partition.nClients,
    tasks: partition.tasks,
    rows: partition.rows.map((client) => client.map((rows) => rows.length)),
    sha256: partition.rows.map((client) => client.map((rows) => (rows.length === 0 ? null : hashRows(rows)))),
  };
}

function hashRows(rows: Int32Array): string {
  const bytes = Buffer.alloc(rows.length * 8);
  rows.forEach((row, i) => bytes.writeBigInt64LE(BigInt(row), i * 8));
  return createHash('sha256').update(bytes).digest('hex');
}
