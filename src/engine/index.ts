/** The native engine's typed face: a frozen backbone, a bank of adapters, and what can be done with them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FltacError, messageOf } from '../errors.js';
import { DEVICE_NAME, deviceMapFaults, deviceMapMessage, devicesOfMap } from './placement.js';
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
  GenerateJob,
  GenerateOptions,
  GenerateResult,
  ProductMeans,
  LoadOptions,
  PackedImages,
  TrainJob,
  TrainOptions,
  TrainResult,
} from './types.js';

export { kmeans, kmeansBatch, machineRates, squaredDistances } from './kmeans.js';
export type { BuildInfo, MachineRates } from './native.js';
export { deviceRuns, placementText, type DeviceMap, type DeviceRun } from './placement.js';
export type * from './types.js';

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
   * Loads a folder in Hugging Face layout: config.json and model.safetensors, or its index and shards. Weights are read
   * part by part, after the options are checked: besides the weights as they are held, one part's take memory.
   * @throws IO, FORMAT, MISSING_WEIGHT or SHAPE, naming the file and the tensor; USAGE or UNSUPPORTED for options (all
   *   faults of a map at once), a model family or a device that is not there; OUT_OF_MEMORY; ABORTED between two parts
   */
  static async load(folder: string, options: LoadOptions = {}): Promise<Backbone> {
    const { signal, onProgress, dtype = 'auto', tf32 = false } = options;
    checkDevices(options);
    const path = join(folder, 'config.json');
    const config = await readText(path);
    const devices = partDevices(options, native().describeArchitecture(config, path).numLayers);
    const settings = { dtype, tf32, ...(devices === undefined ? {} : { devices }) };
    const { handle, ...loaded } = await callNative(
      (addon, hooks) => addon.loadBackbone(folder, { ...settings, ...hooks }),
      { signal, onProgress },
    );
    const device = [...new Set(loaded.placement.map((part) => part.device))].join(', ');
    return new Backbone({ ...loaded, device }, handle, config);
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

/**
 * Whether the devices that are asked for exist, before anything is downloaded or read.
 * @throws USAGE for a name or a map that is wrong whatever the model; UNSUPPORTED for devices that are not there
 */
export function checkDevices({ device = 'auto', deviceMap = null }: Pick<LoadOptions, 'device' | 'deviceMap'>): void {
  const faults = deviceMap === null ? [] : deviceMapFaults(deviceMap);
  const named = deviceMap === null ? [device].filter((name) => name !== 'auto') : Object.values(deviceMap);
  const absent = [...new Set(named)]
    .filter((name) => deviceMap === null || DEVICE_NAME.test(name))
    .flatMap((name) => deviceFault(name));
  if (faults.length > 0) throw new FltacError('USAGE', deviceMapMessage([...faults, ...absent.map(messageOf)]));
  if (absent.length === 1) throw absent[0]!;
  if (absent.length > 1) throw new FltacError(absent[0]!.code, absent.map(messageOf).join('; '));
}

function deviceFault(name: string): FltacError[] {
  try {
    native().checkDevice(name);
    return [];
  } catch (error) {
    if (error instanceof FltacError) return [error];
    throw error;
  }
}

/** A device for each part; undefined leaves the choice to the engine. */
function partDevices({ device = 'auto', deviceMap = null }: LoadOptions, layers: number): string[] | undefined {
  if (deviceMap !== null) return devicesOfMap(deviceMap, layers);
  return device === 'auto' ? undefined : new Array<string>(layers + 2).fill(device);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new FltacError('IO', `${path}: cannot be read: ${messageOf(cause)}`, { cause });
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
   * checkpoint's where it has one, else normal(0, initializer_range) with zero bias. Draws are named by `stream`. With
   * `tuning: 'full'` all but the head is read from the backbone's files, in float32, which takes as long as reading does.
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

  /**
   * Compares the mean of LoRA's products, sum_i w_i B_i A_i, with the product of the factors' means, over the rows of each
   * label; w_i sum to 1. With `into`, whose row c holds the factors' means of label c already, these become the factors of
   * the mean product: its truncated singular value decomposition, balanced between B and A, computed from the stacked
   * factors in float64. A label with one row stays as it is.
   *
   * @throws USAGE for weights that are negative or all zero; NON_FINITE for products that are not finite
   */
  async meanProducts(options: {
    rows: Int32Array;
    labels: Int32Array;
    weights: Float64Array;
    into?: AdapterBank;
  }): Promise<ProductMeans> {
    const { rows, labels, weights, into } = options;
    const norms = await callNative((addon) => addon.meanProducts(this.handle, rows, labels, weights, into?.handle));
    const sum = (of: number) => norms.filter((_, i) => i % 3 === of).reduce((total, norm) => total + norm, 0);
    const [mean, error, lost] = [sum(0), sum(1), sum(2)];
    const relative = (squared: number) => (mean === 0 ? 0 : Math.sqrt(squared / mean));
    return { factorError: relative(error), truncationError: relative(lost) };
  }

  /** Frees the memory. Any later use throws DISPOSED. */
  dispose(): void {
    native().dispose(this.handle);
  }
}

/**
 * Trains each job's bank row in place with AdamW (torch.optim.AdamW's arithmetic and defaults), optimiser state fresh.
 * Whole models (`tuning: 'full'`) are trained one after another whatever the cohort, without checkpointing.
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
  options: Pick<TrainOptions, 'checkpointing'> & { dropout: boolean },
): Promise<{ loss: number; gradient: Float32Array }> {
  return callNative((addon) => addon.gradient(bank.handle, job, options));
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

/** Continues each job's prompts, token by token, without dropout. @throws ABORTED at the next token after the signal */
export async function generate(
  bank: AdapterBank,
  jobs: readonly GenerateJob[],
  options: GenerateOptions,
): Promise<GenerateResult[]> {
  const { signal, onProgress, ...settings } = options;
  return callNative((addon, hooks) => addon.generate(bank.handle, jobs, { ...settings, ...hooks }), {
    signal,
    onProgress,
  });
}

/**
 * Pixel values [images, 3, height, width] as transformers' image processors make them with Pillow, which training and
 * evaluation make batch by batch. @throws USAGE for settings without sense, SHAPE where sizes do not cover the pixels
 */
export async function preprocessImages(
  images: Omit<PackedImages, 'labels'>,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Float32Array> {
  return callNative((addon, hooks) => addon.preprocessImages(images, hooks), options);
}

/**
 * Writes the backbone of `folder` with the adapter in a bank's row folded into its weights: W + (alpha / rank) B A summed in
 * float32 and kept in the files' type, as PEFT's merge_and_unload; the row's head, trained or frozen, in float32. The file
 * is what transformers loads as the family's model with a head. `onProgress` counts tensors.
 *
 * @param folder the one that the bank's backbone was loaded from
 * @throws IO, FORMAT, MISSING_WEIGHT or SHAPE naming file and tensor, USAGE for a row that is not there, ABORTED
 */
export async function mergeModel(
  folder: string,
  bank: AdapterBank,
  row: number,
  path: string,
  options: Pick<LoadOptions, 'onProgress' | 'signal'> = {},
): Promise<void> {
  await callNative((addon, hooks) => addon.mergeModel(folder, bank.handle, row, path, hooks), options);
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
