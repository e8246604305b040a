/**
 * The native addon's face, described once. `load.ts` alone loads the binary; `index.ts` wraps it for the rest of fltac.
 *
 * Conventions: sizes are counts of values unless a name says bytes; every array that crosses is a typed array that the
 * native side keeps alive until the call's promise settles; nothing here blocks the event loop for longer than
 * checking its arguments.
 */
import type { DeviceMap } from './placement.js';

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
  /**
   * "full": every weight of the backbone and its head in place of LoRA, a whole model for an adapter; of the fields above
   * only numLabels counts then. Default "lora"
   */
  tuning?: Tuning;
}

/** What is trained. */
export type Tuning = 'lora' | 'full';

/**
 * One tensor of an adapter: PEFT's `named_parameters` name (of a whole model transformers 4's), its shape, and where it lies
 * in the flat vector.
 */
export interface AdapterTensor {
  name: string;
  shape: readonly number[];
  /** first value in the flat adapter */
  offset: number;
  /** its name with other versions of transformers, where it has one */
  also?: string;
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
  /** what it reads: token ids, or images cut into patches */
  input: 'tokens' | 'images';
  /** what its loss is over: one class of each example, or the next token at each labelled position */
  output: 'classes' | 'next_token';
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

/** Where one part of a backbone lies. */
export interface PartPlacement {
  /** "embedding", "layers.N" or "output" */
  part: string;
  device: string;
  /** bytes the part's weights take */
  bytes: number;
}

export interface BackboneInfo extends ArchitectureInfo {
  /** where the weights lie, e.g. "cpu"; several devices with commas */
  device: string;
  /** every part, in the order in which they are computed */
  placement: readonly PartPlacement[];
  /** of the weights of products and embedding tables: "float32" | "bfloat16" | "float16"; all else is float32 */
  dtype: string;
  /** why it is that type; completes "because" */
  dtypeReason: string;
  /** bytes the weights take, in the layouts in which they are held */
  bytes: number;
  /** bytes free beside the weights on the fullest CUDA device that holds layers; absent where none does */
  freeBytes?: number;
  /** tensors in the files that the architecture does not use */
  unused: readonly string[];
}

/** How a backbone is loaded. */
export interface LoadOptions {
  /** a device's name, or "auto" (default): CUDA devices by their free memory, and where there are none the CPU */
  device?: string;
  /** a device for each part, in place of `device` */
  deviceMap?: DeviceMap | null;
  /**
   * of the weights: "float32", "bfloat16", "float16", or "auto" (default): on CUDA the files' where it is of half
   * precision, on a CPU with bfloat16 instructions bfloat16 for such files, else float32
   */
  dtype?: string;
  /**
   * whether CUDA devices may round the factors of float32 products with frozen weights to TF32 (10 bits of mantissa):
   * faster, less exact; default false. Other devices, other types and all other products are not touched.
   */
  tf32?: boolean;
  /** called now and then from the event loop: `done` of `total` parts are loaded */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

/** Token sequences of different lengths laid end to end, with no padding. */
export interface PackedSequences {
  /** token ids of all sequences, one sequence after another */
  ids: Int32Array;
  /** sequence i is ids[offsets[i]] up to ids[offsets[i + 1]]; one entry more than there are sequences */
  offsets: Int32Array;
  /** segment id of each token (BERT's token_type_ids); absent where the backbone has none */
  typeIds?: Uint8Array;
  /**
   * class of each sequence; for a language model one target for each token of `ids`, as transformers' `labels`: token i
   * is predicted from those before it, and -100 is not counted
   */
  labels: Int32Array;
}

/** How an image becomes a backbone's input; from its preprocessor_config.json. */
export interface ImagePreprocess {
  /** size that images are brought to */
  height: number;
  width: number;
  /** where given, images are resized to this, and the centre of height x width is kept */
  resize?: { readonly height: number; readonly width: number };
  /** Pillow's filter; the result is rounded to 8 bits, as Pillow's is */
  resample: 'bilinear' | 'bicubic';
  /** value = (byte x rescaleFactor - mean) / std, by channel */
  rescaleFactor: number;
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/**
 * Decoded images of any size, end to end. They are resized and normalised batch by batch, so that small images stay
 * small in memory.
 */
export interface PackedImages {
  /** RGB bytes, each image [height, width, 3] row-major */
  pixels: Uint8Array;
  /** [images, 2] row-major: height and width of each image */
  sizes: Int32Array;
  /** class of each image */
  labels: Int32Array;
  preprocess: ImagePreprocess;
}

/** Examples in the form that the backbone reads. */
export type Examples = PackedSequences | PackedImages;

/** One local fine-tune: one bank row, its own rows of data in the order they are drawn. */
export interface TrainJob<E extends Examples = Examples> {
  /** bank row, trained in place */
  row: number;
  examples: E;
  /** step s trains on examples batches[s] up to batches[s + 1]; one entry more than there are steps */
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
  /**
   * true keeps of each layer only what it reads and computes the layer again for backward: the same bits in less
   * memory, for about a third more time
   */
  checkpointing?: boolean;
  /** whether LoRA's A stays as it is; default false */
  freezeA?: boolean;
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

export interface EvaluateJob<E extends Examples = Examples> {
  row: number;
  examples: E;
}

export interface EvaluateOptions {
  /**
   * bounds a pass, whose examples may be several jobs': at most the tokens of so many of the longest example, and on a CPU
   * fewer where that is faster; default 64
   */
  batchSize?: number;
  /** true gives a language model's logits at every target too: [targets, vocabSize] values, for small vocabularies */
  targetLogits?: boolean;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

export interface EvaluateResult {
  /** [examples, numLabels] row-major; for a language model empty, or with targetLogits [targets, vocabSize] */
  logits: Float32Array;
  /** mean cross-entropy over the targets of all examples */
  loss: number;
  /** summed cross-entropy of each example over its targets */
  exampleLosses: Float64Array;
  /** targets of each example: 1, or a language model's labelled tokens */
  exampleTargets: Int32Array;
}

/** Relative Frobenius norms over all clusters and modules together; 0 where the mean product is zero. */
export interface ProductMeans {
  /** ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)|| */
  factorError: number;
  /** what the rank cuts off ||mean(B A)||; 0 where nothing was factored */
  truncationError: number;
}

/** Prompts to continue with one adapter. */
export interface GenerateJob {
  /** bank row */
  row: number;
  prompts: Pick<PackedSequences, 'ids' | 'offsets'>;
  /**
   * one key for each prompt, needed where the temperature is above 0: the key and the position decide what is drawn, not
   * what else runs beside it
   */
  streams?: BigUint64Array;
}

export interface GenerateOptions {
  /** most tokens added to each prompt */
  maxNewTokens: number;
  /** tokens that end an answer; they are not part of it */
  eosIds: readonly number[];
  /** 0 takes the most likely token (the first of equals); above, tokens are drawn from softmax(logits / temperature) */
  temperature?: number;
  /** draws only from the most likely tokens that together reach this probability; 1 (default) from all */
  topP?: number;
  /** most sequences in one pass */
  batchSize?: number;
  /** called now and then from the event loop: `done` of `total` prompts over all jobs */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

/** The answers of one job, in the order of its prompts. */
export interface GenerateResult {
  /** token ids of all answers, one after another, without prompt and end token */
  ids: Int32Array;
  /** answer i is ids[offsets[i]] up to ids[offsets[i + 1]] */
  offsets: Int32Array;
  /** 1 where an answer ended with one of eosIds, 0 where it was cut at maxNewTokens or the model's last position */
  finished: Uint8Array;
}

export type * from './kmeans-types.js';

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
