/** Counts of values from shapes. */
import type { AdapterLayout, AdapterSpec, ArchitectureInfo } from '../engine/types.js';
import { rangesOf, type TensorKind } from '../federation/aggregation.js';

/** The part of the engine that reads shapes. */
export interface Shapes {
  describeArchitecture(config: string, name?: string): ArchitectureInfo;
  adapterLayout(config: string, spec: AdapterSpec, name?: string): AdapterLayout;
}

export interface AdapterCount {
  rank: number;
  lora: number;
  head: number;
  /** lora + head */
  values: number;
  /** e.g. "147,456 rank-4 LoRA + 1,538 head" */
  parts: string;
}

/** What shapes depend on: neither scale nor dropout. */
export type ShapeSpec = Pick<AdapterSpec, 'rank' | 'targetModules' | 'numLabels' | 'trainHead'>;

export function layoutOf(shapes: Shapes, config: string, spec: ShapeSpec): AdapterLayout {
  return shapes.adapterLayout(config, { ...spec, loraAlpha: 1, loraDropout: 0 });
}

/**
 * Values of one adapter of the model that `config` (the text of its config.json) describes.
 *
 * @param freezesA whether only those that are trained with A frozen are counted: B and the head
 */
export function countAdapter(shapes: Shapes, config: string, spec: ShapeSpec, freezesA = false): AdapterCount {
  const layout = layoutOf(shapes, config, spec);
  const count = (kinds: readonly TensorKind[]) =>
    rangesOf(layout, kinds).reduce((sum, { begin, end }) => sum + end - begin, 0);
  const lora = count(freezesA ? ['b'] : ['a', 'b']);
  const head = count(['head']);
  const { rank } = spec;
  const name = `rank-${rank} LoRA${freezesA ? ' B' : ''}`;
  const parts = `${grouped(lora)} ${name}${head > 0 ? ` + ${grouped(head)} head` : ''}`;
  return { rank, lora, head, values: lora + head, parts };
}

/**
 * Values of the head that full fine-tuning trains with a backbone: the classes' head or, where the words of the output
 * are not those of the input (`tie_word_embeddings`), a language model's.
 */
export function countHead(
  shapes: Shapes,
  config: string,
  spec: Pick<AdapterSpec, 'targetModules' | 'numLabels'>,
): number {
  const { output, vocabSize, hiddenSize } = shapes.describeArchitecture(config);
  if (output === 'classes') {
    return countAdapter(shapes, config, { ...spec, rank: 1, trainHead: true }).head;
  }
  const tied = (JSON.parse(config) as { tie_word_embeddings?: unknown }).tie_word_embeddings === true;
  return tied ? 0 : vocabSize * hiddenSize;
}

/** `108311810` -> `108,311,810` */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
