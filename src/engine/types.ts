/**
 * The native addon's face, described once. `load.ts` alone loads the binary; `index.ts` wraps it for the rest of fltac.
 *
 * Conventions: sizes are counts of values unless a name says bytes; every array that crosses is a typed array that the
 * native side keeps alive until the call's promise settles; nothing here blocks the event loop for longer than
 * checking its arguments.
 */

/** How adapters are shaped and applied; fixed for the life of a bank. */
export interface AdapterSpec {
  /** LoRA rank r, 1 or more */
  rank: number;
  /** LoRA alpha: the product B A is scaled by loraAlpha / rank */
  loraAlpha: number;
  /** probability of dropping an input value of the LoRA branch while training */
  loraDropout: number;
  /** last parts of the names of the linear modules that get LoRA, e.g. ["query", "value"] */
  targetModules: readonly string[];
  /** outputs of the classification head */
  numLabels: number;
  /** whether the head belongs to the adapter (trained, averaged, uploaded) or stays frozen at its initial value */
  trainHead: boolean;
}

/** One tensor of an adapter: PEFT's `named_parameters` name, its shape, and where it lies in the flat vector. */
export interface AdapterTensor {
  name: string;
  shape: readonly number[];
  /** first value in the flat adapter */
  offset: number;
}

/** The tensors of an adapter in name order (byte order of the names), without gaps. */
export interface AdapterLayout {
  tensors: readonly AdapterTensor[];
  /** number of values of one adapter */
  size: number;
}

/** One tensor of a backbone as the architecture table names it. */
export interface BackboneTensor {
  name: string;
  shape: readonly number[];
}

/** What a model's config.json says, read through the architecture table; needs no weights. */
export interface ArchitectureInfo {
  /** `model_type` of config.json, e.g. "bert" */
  family: string;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  vocabSize: number;
  maxPositions: number;
  /** every tensor of the backbone, without any head */
  tensors: readonly BackboneTensor[];
  /** values in `tensors` */
  parameters: number;
}

export interface BackboneInfo extends ArchitectureInfo {
  /** where the weights lie, e.g. "cpu" */
  device: string;
  /** "float32" | "bfloat16" | "float16" */
  dtype: string;
  /** bytes the weights take */
  bytes: number;
  /** tensors in the files that the architecture does not use */
  unused: readonly string[];
}

/** Token sequences of different lengths laid end to end, with no padding. */
export interface PackedSequences {
  /** token ids of all sequences, one sequence after another */
  ids: Int32Array;
  /** sequence i is ids[offsets[i]] up to ids[offsets[i + 1]]; one entry more than there are sequences */
  offsets: Int32Array;
  /** segment id of each token (BERT's token_type_ids); absent where the backbone has none */
  typeIds?: Uint8Array;
  /** class of each sequence */
  labels: Int32Array;
}

/** One local fine-tune: one bank row, its own rows of data in the order they are drawn. */
export interface TrainJob {
  /** bank row, trained in place */
  row: number;
  sequences: PackedSequences;
  /** step s trains on sequences batches[s] up to batches[s + 1]; one entry more than there are steps */
  batches: Int32Array;
  /** names the job's random streams (dropout): the same key gives the same masks, whatever else runs beside it */
  stream: bigint;
}

export interface TrainOptions {
  lr: number;
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  /** false switches every dropout off (the backbone's and LoRA's) */
  dropout?: boolean;
  /** most jobs trained in one pass; 1 trains one after another */
  cohort: number;
  /** called now and then from the event loop: `done` of `total` optimiser steps over all jobs */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

export interface TrainResult {
  /** mean cross-entropy of each step's batch, before its update */
  losses: Float64Array;
}

export interface EvaluateJob {
  row: number;
  sequences: PackedSequences;
}

export interface EvaluateOptions {
  /** most sequences in one pass */
  batchSize?: number;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

export interface EvaluateResult {
  /** [sequences, numLabels] row-major */
  logits: Float32Array;
  /** mean cross-entropy over the sequences */
  loss: number;
}

export interface KmeansOptions {
  k: number;
  /** k-means++ starts of which the one with the least inertia is kept (scikit-learn's meaning) */
  nInit?: number;
  maxIter?: number;
  /** stop when the centroids move by less than tol x the mean variance of the columns (scikit-learn's meaning) */
  tol?: number;
  seed?: number;
  /**
   * after Lloyd, move single rows between clusters while that lowers the inertia (Hartigan 1975; default true): with few
   * long rows Lloyd stops early, and scikit-learn's result depends much on the seed. false: scikit-learn's procedure
   */
  exchange?: boolean;
  signal?: AbortSignal | undefined;
}

export interface KmeansResult {
  labels: Int32Array;
  /** [k, columns] row-major */
  centroids: Float32Array;
  /** sum of squared distances to the nearest centroid, in float64 */
  inertia: number;
  /** Lloyd iterations of the kept start */
  iterations: number;
  /** which implementation ran, e.g. "gram" */
  path: string;
  /** empty clusters that were given a new centroid in the kept start */
  reseeded: number;
  /** rows that exchanges moved in the kept start */
  exchanged: number;
}

/** A value that a torch archive (.pt) can hold; `undefined` never occurs. */
export type ArchiveValue =
  number | bigint | boolean | string | null | ArchiveTensor | readonly ArchiveValue[] | ArchiveDict;

/** A Python dict whose keys are str or int. A Map with number keys writes int keys. */
export type ArchiveDict = ReadonlyMap<string | number, ArchiveValue>;

export interface ArchiveTensor {
  shape: readonly number[];
  /** row-major float32 */
  data: Float32Array;
}
