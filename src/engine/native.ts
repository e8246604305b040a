/** The addon's exports as native/addon.cc lists them. Only the engine folder uses this. */
import { FltacError } from '../errors.js';
import { loadAddon } from './load.js';
import type {
  AdapterLayout,
  AdapterSpec,
  ArchitectureInfo,
  ArchiveTensor,
  ArchiveValue,
  BackboneInfo,
} from './types.js';
import type {
  EvaluateJob,
  EvaluateResult,
  GenerateJob,
  GenerateResult,
  KmeansResult,
  PackedImages,
  TrainJob,
} from './types.js';

declare const handle: unique symbol;
/** An opaque native object; every use is checked on the native side. */
export interface Handle<Kind extends string> {
  readonly [handle]: Kind;
}

/** What every long call takes besides its own options. */
export interface Hooks {
  onProgress?: (done: number, total: number) => void;
  control?: Handle<'control'>;
}

/** What the binary was built with and runs on. */
export interface BuildInfo {
  /** libtorch's version */
  readonly libtorch: string;
  /** whether this libtorch sees a CUDA device */
  readonly cuda: boolean;
  /** visible CUDA devices that this build can use */
  readonly cudaDevices: number;
  /** threads that libtorch uses where nothing else is asked for */
  readonly threads: number;
  /** instruction set that libtorch chose, e.g. "AVX512" */
  readonly cpu: string;
  /**
   * the product with frozen weights held in bfloat16: "packed" (our own, AVX512_BF16 without AMX), libtorch's "onednn", whose
   * results are rounded to bfloat16, or null where they are made float32 for each product
   */
  readonly bfloat16: 'packed' | 'onednn' | null;
  /** the float32 product with frozen weights: "packed" (our own, AVX-512), libtorch's "onednn" or "blas" */
  readonly linear: string;
}

/** What this machine can do at best, by all threads, per second; for a benchmark to compare with. */
export interface MachineRates {
  /** bytes copied from one large buffer to another; each is read once and written once */
  readonly copyBytesPerSecond: number;
  /** bytes of a large buffer read and added up */
  readonly readBytesPerSecond: number;
  /** floating-point operations of libtorch's matrix product in float32 and float64 */
  readonly gemm32: number;
  readonly gemm64: number;
}

/** Rows to cluster, as the addon takes them: of a bank, of an array, or of a file. */
export type NativeChunk =
  { bank: Handle<'bank'>; rows: Int32Array } | { values: Float32Array } | { file: string; tensor?: string | undefined };

export interface NativeModule {
  buildInfo(): BuildInfo;
  memoryHeld(): number;
  setThreads(threads: number): void;
  /** @throws USAGE for a name of no kind of device, UNSUPPORTED for a device that is not there */
  checkDevice(name: string): void;
  describeArchitecture(config: string, name: string): ArchitectureInfo;
  adapterLayout(config: string, name: string, spec: AdapterSpec): AdapterLayout;
  createControl(): Handle<'control'>;
  cancel(control: Handle<'control'>): void;
  dispose(handle: Handle<string>): void;
  loadBackbone(
    folder: string,
    options: { dtype: string; tf32?: boolean; devices?: readonly string[] } & Hooks,
  ): Promise<Omit<BackboneInfo, 'device'> & { handle: Handle<'backbone'> }>;
  createBank(
    backbone: Handle<'backbone'>,
    spec: AdapterSpec,
    rows: number,
  ): { handle: Handle<'bank'>; layout: AdapterLayout };
  initialiseRow(bank: Handle<'bank'>, row: number, stream: bigint): void;
  getRow(bank: Handle<'bank'>, row: number): Float32Array;
  setRow(bank: Handle<'bank'>, row: number, values: Float32Array): void;
  copyRow(from: Handle<'bank'>, fromRow: number, to: Handle<'bank'>, toRow: number): void;
  average(
    bank: Handle<'bank'>,
    rows: Int32Array,
    labels: Int32Array,
    weights: Float64Array,
    into: Handle<'bank'>,
  ): Promise<void>;
  meanProducts(
    bank: Handle<'bank'>,
    rows: Int32Array,
    labels: Int32Array,
    weights: Float64Array,
    into: Handle<'bank'> | undefined,
  ): Promise<Float64Array>;
  mergeModel(folder: string, bank: Handle<'bank'>, row: number, path: string, hooks: Hooks): Promise<void>;
  train(bank: Handle<'bank'>, jobs: readonly TrainJob[], options: object): Promise<Float64Array[]>;
  gradient(
    bank: Handle<'bank'>,
    job: TrainJob,
    options: { dropout: boolean; checkpointing?: boolean },
  ): Promise<{ loss: number; gradient: Float32Array }>;
  evaluate(bank: Handle<'bank'>, jobs: readonly EvaluateJob[], options: object): Promise<EvaluateResult[]>;
  generate(bank: Handle<'bank'>, jobs: readonly GenerateJob[], options: object): Promise<GenerateResult[]>;
  preprocessImages(images: Omit<PackedImages, 'labels'>, hooks: Hooks): Promise<Float32Array>;
  kmeans(problems: readonly (readonly NativeChunk[])[], options: object): Promise<KmeansResult[]>;
  squaredDistances(rows: readonly NativeChunk[], options: object): Promise<Float64Array>;
  machineRates(): Promise<MachineRates>;
  readArchive(path: string): Promise<ArchiveValue>;
  writeArchive(path: string, value: ArchiveValue): Promise<void>;
  readSafetensors(path: string): Promise<Map<string, ArchiveTensor>>;
  writeSafetensors(
    path: string,
    tensors: ReadonlyMap<string, ArchiveTensor>,
    metadata: Readonly<Record<string, string>>,
  ): Promise<void>;
}

/** The addon, loaded at the first use. */
export function native(): NativeModule {
  return loadAddon() as unknown as NativeModule;
}

/**
 * Runs an asynchronous native call with the caller's abort signal, and gives its errors the caller's stack: they are
 * made in a callback that knows nothing of who called. `onProgress` is not called once the promise has settled.
 */
export async function callNative<T>(
  call: (native: NativeModule, hooks: Hooks) => Promise<T>,
  options: { signal?: AbortSignal | undefined; onProgress?: ((done: number, total: number) => void) | undefined } = {},
): Promise<T> {
  const here = new Error();
  const addon = native();
  const { signal, onProgress } = options;
  requireSignal(signal);
  const control = addon.createControl();
  const stop = () => addon.cancel(control);
  const hooks: Hooks = { control };
  let settled = false;
  let callbackFailure: { error: unknown } | undefined;
  if (onProgress) {
    // Reports and the end come through queues of their own, so that a report may come after the end. What the callback
    // throws would be lost in native code: it ends the call instead.
    hooks.onProgress = (done, total) => {
      if (settled || callbackFailure) return;
      try {
        onProgress(done, total);
      } catch (error) {
        callbackFailure = { error };
        stop();
      }
    };
  }
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const result = await call(addon, hooks);
    settled = true;
    throwFailure(callbackFailure);
    return result;
  } catch (error) {
    settled = true;
    throwFailure(callbackFailure);
    if (error instanceof Error) {
      const callers = here.stack?.split('\n').slice(2).join('\n') ?? '';
      error.stack = `${error.name}: ${error.message}\n${callers}`;
    }
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** Signals of other realms and of polyfills are taken, too. */
function requireSignal(signal: unknown): void {
  if (signal === undefined || signal === null) return;
  const { aborted, addEventListener } = signal as { aborted?: unknown; addEventListener?: unknown };
  if (typeof aborted === 'boolean' && typeof addEventListener === 'function') return;
  throw new FltacError('USAGE', 'signal must be the signal of an AbortController, found something else');
}

function throwFailure(failure: { error: unknown } | undefined): void {
  if (failure) throw failure.error;
}
