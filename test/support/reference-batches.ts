/** The padded batches of a reference file as the engine's packed examples. */
import type { ImagePreprocess, PackedImages, PackedSequences } from '../../src/engine/index.js';
import { values, type Tensor } from './safetensors.js';

type Tensors = Map<string, Tensor>;

/** ViTImageProcessor's defaults, for images that have their size already. */
export function plainPreprocess(height: number, width: number): ImagePreprocess {
  return {
    height,
    width,
    resample: 'bilinear',
    rescaleFactor: 1 / 255,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
  };
}

/** A batch by its number: images where the file has pixels, else token sequences. */
export function referenceBatch(tensors: Tensors, batch: number): PackedSequences | PackedImages {
  return tensors.has(`batch.${batch}.pixel_u8`) ? images(tensors, batch) : sequences(tensors, batch);
}

/** Padding is left out wherever it stands; labels are kept by token where the file has them so. */
function sequences(tensors: Tensors, batch: number): PackedSequences {
  const [rows, width] = tensors.get(`batch.${batch}.input_ids`)!.shape as [number, number];
  const mask = values(tensors, `batch.${batch}.attention_mask`);
  const kept = [...mask.keys()].filter((i) => mask[i] !== 0);
  const pick = (name: string) => kept.map((i) => values(tensors, `batch.${batch}.${name}`)[i]!);
  const lengths = Array.from({ length: rows }, (_, r) =>
    mask.slice(r * width, (r + 1) * width).reduce((a, b) => a + b),
  );
  const perToken = tensors.get(`batch.${batch}.labels`)!.shape.length === 2;
  const typed = tensors.has(`batch.${batch}.token_type_ids`);
  return {
    ids: Int32Array.from(pick('input_ids')),
    offsets: offsetsOf(lengths),
    ...(typed ? { typeIds: Uint8Array.from(pick('token_type_ids')) } : {}),
    labels: Int32Array.from(perToken ? pick('labels') : values(tensors, `batch.${batch}.labels`)),
  };
}

/** [n, channel, row, column] bytes to [n, row, column, channel]. */
function images(tensors: Tensors, batch: number): PackedImages {
  const { shape, data } = tensors.get(`batch.${batch}.pixel_u8`)!;
  const [n, channels, height, width] = shape as [number, number, number, number];
  const area = height * width;
  const pixels = new Uint8Array(n * channels * area);
  for (let i = 0; i < pixels.length; i++) {
    const at = Math.floor(i / channels);
    const image = Math.floor(at / area);
    pixels[i] = Number(data[(image * channels + (i % channels)) * area + (at % area)]);
  }
  return {
    pixels,
    sizes: Int32Array.from({ length: 2 * n }, (_, i) => (i % 2 === 0 ? height : width)),
    labels: Int32Array.from(values(tensors, `batch.${batch}.labels`)),
    preprocess: plainPreprocess(height, width),
  };
}

export function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + length);
  return Int32Array.from(offsets);
}

/** Batches end to end, and where each begins. */
export function concatenated<E extends PackedSequences | PackedImages>(
  parts: readonly E[],
): { examples: E; batches: Int32Array } {
  const batches = offsetsOf(parts.map((part) => countOf(part)));
  const first = parts[0]!;
  if ('pixels' in first) {
    const all = parts as readonly PackedImages[];
    const examples: PackedImages = {
      pixels: Uint8Array.from(all.flatMap((part) => [...part.pixels])),
      sizes: Int32Array.from(all.flatMap((part) => [...part.sizes])),
      labels: Int32Array.from(all.flatMap((part) => [...part.labels])),
      preprocess: first.preprocess,
    };
    return { examples: examples as E, batches };
  }
  const all = parts as readonly PackedSequences[];
  const lengths = all.flatMap(({ offsets }) => [...offsets.subarray(1)].map((end, i) => end - offsets[i]!));
  const examples: PackedSequences = {
    ids: Int32Array.from(all.flatMap((part) => [...part.ids])),
    offsets: offsetsOf(lengths),
    ...('typeIds' in first ? { typeIds: Uint8Array.from(all.flatMap((part) => [...part.typeIds!])) } : {}),
    labels: Int32Array.from(all.flatMap((part) => [...part.labels])),
  };
  return { examples: examples as E, batches };
}

function countOf(part: PackedSequences | PackedImages): number {
  return 'pixels' in part ? part.labels.length : part.offsets.length - 1;
}

/**
 * Sequences that ask for the logits at every token: each token is the target of the one before it, and a token is added
 * at the end of each sequence, which in a causal model changes nothing before it.
 */
export function everyTokenLabelled({ ids, offsets }: PackedSequences): PackedSequences {
  const longer: number[] = [];
  for (let s = 0; s + 1 < offsets.length; s++) longer.push(...ids.subarray(offsets[s], offsets[s + 1]), 0);
  return {
    ids: Int32Array.from(longer),
    offsets: offsets.map((offset, s) => offset + s),
    labels: Int32Array.from(longer),
  };
}
