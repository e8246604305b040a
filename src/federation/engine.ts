/**
 * What the federation asks of the engine, as interfaces: production gives the libtorch engine (native-engine.ts), unit
 * tests a small one whose adapters are short vectors. Only this file and native-engine.ts know the engine's shape.
 */
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
  KmeansOptions,
  KmeansResult,
  LoadOptions as BackboneOptions,
  ProductMeans,
  SpaceOptions,
  TrainJob,
  TrainOptions,
  TrainResult,
} from '../engine/types.js';

/** One contiguous [rows, layout.size] float32 matrix of adapters, held by the engine. */
export interface Bank {
  readonly layout: AdapterLayout;
  readonly rows: number;
  /** Draws the start of one adapter: A Kaiming-uniform as PEFT, B zero, head as the backbone's initialiser. */
  initialise(row: number, stream: bigint): void;
  /** `values` has layout.size values. */
  set(row: number, values: Float32Array): void;
  /** A copy of one adapter, layout.size values. */
  get(row: number): Float32Array;
  copy(from: number, to: number): void;
  /** Row `c` of `into` becomes the weighted mean of the rows labelled `c`; weights need not sum to one. */
  average(options: AverageOptions): Promise<void>;
  /** How the mean of products B A differs from the product of means; with `into`, makes its means those of the products. */
  meanProducts(options: Omit<AverageOptions, 'into'> & { into?: Bank }): Promise<ProductMeans>;
  /** Copies row `from` of another bank of the same layout to row `to` of this one. */
  copyFrom(bank: Bank, from: number, to: number): void;
  dispose(): void;
}

export interface AverageOptions {
  rows: Int32Array;
  /** cluster of each of `rows`, 0 up to the number of clusters; each cluster has a row */
  labels: Int32Array;
  weights: Float64Array;
  into: Bank;
}

/** A loaded backbone and what can be done with it. */
export interface Engine {
  readonly info: BackboneInfo;
  layout(spec: AdapterSpec): AdapterLayout;
  createBank(spec: AdapterSpec, rows: number): Bank;
  /** Trains in place; the jobs of one call are on distinct rows. */
  train(bank: Bank, jobs: readonly TrainJob[], options: TrainOptions): Promise<readonly TrainResult[]>;
  evaluate(bank: Bank, jobs: readonly EvaluateJob[], options: EvaluateOptions): Promise<readonly EvaluateResult[]>;
  /** Continues prompts; several jobs may use one row. */
  generate(bank: Bank, jobs: readonly GenerateJob[], options: GenerateOptions): Promise<readonly GenerateResult[]>;
  /** K-means over whole rows of a bank. */
  kmeans(bank: Bank, options: KmeansOptions & { rows: Int32Array }): Promise<KmeansResult>;
  /** Squared distances between rows of a bank in a space of K-means, [n, n]. */
  distances(bank: Bank, options: DistanceOptions): Promise<Float64Array>;
  /** Writes the backbone of `folder` with the adapter in `row` folded in, as a safetensors file. */
  merge(
    folder: string,
    bank: Bank,
    row: number,
    path: string,
    options: Pick<BackboneOptions, 'onProgress' | 'signal'>,
  ): Promise<void>;
  dispose(): void;
}

export interface DistanceOptions extends SpaceOptions {
  rows: Int32Array;
  signal?: AbortSignal | undefined;
}

/** How to load a backbone. */
export interface LoadOptions extends BackboneOptions {
  /** 0 takes OMP_NUM_THREADS, or else all cores */
  threads: number;
}

/** Everything a run needs from the engine, backbone or not. */
export interface EngineFace {
  /** @throws USAGE or UNSUPPORTED for devices that are not there, before anything is downloaded */
  checkDevices(options: Pick<LoadOptions, 'device' | 'deviceMap'>): void;
  load(folder: string, options: LoadOptions): Promise<Engine>;
  /** What a config.json's text says of a backbone; needs no weights. `name` names it in errors. */
  describeArchitecture(config: string, name: string): ArchitectureInfo;
  /** Facts of the build for a run's record, e.g. libtorch's version; strings and numbers only. */
  environment(): Readonly<Record<string, string | number>>;
  /** Writes what `torch.load(weights_only=True)` reads. */
  writeArchive(path: string, value: ArchiveValue): Promise<void>;
  readArchive(path: string): Promise<ArchiveValue>;
  readSafetensors(path: string): Promise<Map<string, ArchiveTensor>>;
  writeSafetensors(
    path: string,
    tensors: Map<string, ArchiveTensor>,
    metadata?: Readonly<Record<string, string>>,
  ): Promise<void>;
}
