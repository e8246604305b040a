/** The native engine's typed face: a frozen backbone, a bank of adapters, and what can be done with them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FltacError } from '../errors.js';
import { callNative, native, type BuildInfo, type Handle } from './native.js';
import type {
  AdapterLayout,
  AdapterSpec,
  ArchitectureInfo,
  ArchiveTensor,
  ArchiveValue,
  BackboneInfo,
  EvaluateJob,
  EvaluateOptions,
  EvaluateResult,
  TrainJob,
  TrainOptions,
  TrainResult,
} from './types.js';

export { kmeans, kmeansBatch, machineRates } from './kmeans.js';
export type { BuildInfo, MachineRates } from './native.js';
export type * from './types.js';

/** Devices and types that this engine computes with; "auto" chooses among them. */
const DEVICES = ['auto', 'cpu'];
const DTYPES = ['auto', 'float32'];

function requireOneOf(what: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) {
    throw new FltacError('UNSUPPORTED', `${what} "${value}" is not supported by this build; use ${known.join(' or ')}`);
  }
}

/** A frozen backbone in native memory. Held once, however many adapters are trained on it. */
export class Backbone {
  readonly info: BackboneInfo;
  /** @internal */
  readonly handle: Handle<'backbone'>;
  readonly #config: string;

  private constructor(info: BackboneInfo, handle: Handle<'backbone'>, config: string) {
    this.info = info;
    this.handle = handle;
    this.#config = config;
  }

  /**
   * Loads a folder in Hugging Face layout: config.json and model.safetensors, or its index and shards.
   * @throws IO, FORMAT, UNSUPPORTED, MISSING_WEIGHT or SHAPE, naming the file and the tensor
   */
  static async load(folder: string, options: { device?: string; dtype?: string } = {}): Promise<Backbone> {
    requireOneOf('device', options.device ?? 'auto', DEVICES);
    requireOneOf('dtype', options.dtype ?? 'auto', DTYPES);
    const { handle, ...info } = await callNative((addon, hooks) => addon.loadBackbone(folder, hooks));
    return new Backbone(info, handle, await readFile(join(folder, 'config.json'), 'utf8'));
  }

  /** The tensors of an adapter of this backbone. @throws USAGE for a spec that does not fit */
  layout(spec: AdapterSpec): AdapterLayout {
    return native().adapterLayout(this.#config, 'config.json', spec);
  }

  /** Frees the weights; banks made from this backbone keep them until they are disposed too. */
  dispose(): void {
    native().dispose(this.handle);
  }
}

/** Adapters as the rows of one contiguous [rows, layout.size] float32 matrix in native memory. */
export class AdapterBank {
  readonly layout: AdapterLayout;
  readonly rows: number;
  /** @internal */
  readonly handle: Handle<'bank'>;

  /** `rows` adapters, all zero. @throws USAGE for a spec that does not fit the backbone, SHAPE for its head */
  constructor(backbone: Backbone, spec: AdapterSpec, rows: number) {
    const { handle, layout } = native().createBank(backbone.handle, spec, rows);
    this.handle = handle;
    this.layout = layout;
    this.rows = rows;
  }

  /**
   * PEFT's initial state: A uniform in +-1/sqrt(inputs) (kaiming_uniform with a = sqrt 5), B zero; the head is the
   * checkpoint's where it has one, else normal(0, initializer_range) with zero bias. Draws are named by `stream`.
   */
  initialise(row: number, stream: bigint): void {
    native().initialiseRow(this.handle, row, stream);
  }

  /** Overwrites a row with layout.size values. */
  set(row: number, values: Float32Array): void {
    native().setRow(this.handle, row, values);
  }

  /** A copy of a row. */
  get(row: number): Float32Array {
    return native().getRow(this.handle, row);
  }

  copy(from: number, to: number): void {
    native().copyRow(this.handle, from, this.handle, to);
  }

  /** Copies row `from` of another bank of the same layout to row `to` of this one. */
  copyFrom(bank: AdapterBank, from: number, to: number): void {
    native().copyRow(bank.handle, from, this.handle, to);
  }

  /**
   * Federated averaging: row c of `into` becomes sum_i w_i x_i / sum_i w_i over the rows labelled c, summed in float64
   * (McMahan et al. 2017, equation 1). Rows of `into` without members stay as they are.
   */
  async average(options: {
    rows: Int32Array;
    labels: Int32Array;
    weights: Float64Array;
    into: AdapterBank;
  }): Promise<void> {
    const { rows, labels, weights, into } = options;
    await callNative((addon) => addon.average(this.handle, rows, labels, weights, into.handle));
  }

  /** Frees the memory. Any later use throws DISPOSED. */
  dispose(): void {
    native().dispose(this.handle);
  }
}

/**
 * Trains each job's bank row in place with AdamW (torch.optim.AdamW's arithmetic and defaults), optimiser state fresh.
 * @throws ABORTED at the next step after the signal; rows hold what they had learned until then
 */
export async function train(
  bank: AdapterBank,
  jobs: readonly TrainJob[],
  options: TrainOptions,
): Promise<TrainResult[]> {
  const { signal, onProgress, ...settings } = options;
  const losses = await callNative((addon, hooks) => addon.train(bank.handle, jobs, { ...settings, ...hooks }), {
    signal,
    onProgress,
  });
  return losses.map((values) => ({ losses: values }));
}

/** Loss and flat gradient (float32, as the adapter) of a job's first step; nothing is updated. */
export async function gradient(
  bank: AdapterBank,
  job: TrainJob,
  options: { dropout: boolean },
): Promise<{ loss: number; gradient: Float32Array }> {
  return callNative((addon) => addon.gradient(bank.handle, job, options.dropout));
}

/** Logits and mean loss of each job, without dropout. */
export async function evaluate(
  bank: AdapterBank,
  jobs: readonly EvaluateJob[],
  options: EvaluateOptions = {},
): Promise<EvaluateResult[]> {
  const { signal, onProgress, ...settings } = options;
  return callNative((addon, hooks) => addon.evaluate(bank.handle, jobs, { ...settings, ...hooks }), {
    signal,
    onProgress,
  });
}

/** Reads a model's config.json text through the architecture table; needs no weights. `name` names it in errors. */
export function describeArchitecture(config: string, name = 'config.json'): ArchitectureInfo {
  return native().describeArchitecture(config, name);
}

/** The tensors of an adapter for a model's config.json text. */
export function adapterLayout(config: string, spec: AdapterSpec, name = 'config.json'): AdapterLayout {
  return native().adapterLayout(config, name, spec);
}

/** What the native engine was built with. */
export function buildInfo(): BuildInfo {
  return native().buildInfo();
}

/** Bytes of backbones and banks that are not disposed; V8 is told the same. */
export function memoryHeld(): number {
  return native().memoryHeld();
}

/** Threads of the native calls to come. */
export function setThreads(threads: number): void {
  native().setThreads(threads);
}

/** Reads a torch archive (.pt) with a restricted reader: plain values and tensors, nothing is ever executed. */
export async function readArchive(path: string): Promise<ArchiveValue> {
  return callNative((addon) => addon.readArchive(path));
}

/** Writes what `torch.load(path, weights_only=True)` reads; beside and renamed. */
export async function writeArchive(path: string, value: ArchiveValue): Promise<void> {
  await callNative((addon) => addon.writeArchive(path, value));
}

/** All floating-point tensors of a safetensors file, as float32. */
export async function readSafetensors(path: string): Promise<Map<string, ArchiveTensor>> {
  return callNative((addon) => addon.readSafetensors(path));
}

/** Writes float32 tensors; beside and renamed. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, ArchiveTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await callNative((addon) => addon.writeSafetensors(path, tensors, metadata));
}
