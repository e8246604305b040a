/** Counts of values from shapes, and the paper's table derived from them. */
import { NUM_LABELS, SCENARIOS } from '../config/scenarios.js';
import type { AdapterLayout, AdapterSpec, ArchitectureInfo } from '../engine/types.js';
import { presetShape } from './presets.js';

/** Adapters are trained and uploaded as float32. */
export const BYTES_PER_VALUE = 4;

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

export interface PublishedCount {
  method: string;
  values: number;
  derivation: string;
  /** where the published count is not what is really trained */
  note?: string;
}

/** Values of one adapter of the model that `config` (the text of its config.json) describes. */
export function countAdapter(
  shapes: Shapes,
  config: string,
  spec: Pick<AdapterSpec, 'rank' | 'targetModules' | 'numLabels' | 'trainHead'>,
): AdapterCount {
  // Neither scale nor dropout changes a shape.
  const { tensors, size } = shapes.adapterLayout(config, { ...spec, loraAlpha: 1, loraDropout: 0 });
  const lora = tensors
    .filter(({ name }) => /\.lora_[AB]\./.test(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0);
  const head = size - lora;
  const { rank } = spec;
  const parts = `${grouped(lora)} rank-${rank} LoRA${head > 0 ? ` + ${grouped(head)} head` : ''}`;
  return { rank, lora, head, values: size, parts };
}

/** The published ranks (paper, table of trainable parameters); its backbone is cased. */
const PUBLISHED = { fltacRank: 1, feditRank: 16, backbone: 'bert-base-cased', named: 'bert-base-uncased' } as const;

/** The paper's trainable parameters for GLUE on BERT, each computed from the model's shapes. */
export function countPublished(shapes: Shapes): PublishedCount[] {
  const { tasks } = SCENARIOS.glue;
  const cased = JSON.stringify(presetShape(PUBLISHED.backbone));
  const uncased = shapes.describeArchitecture(JSON.stringify(presetShape(PUBLISHED.named)));
  const backbone = shapes.describeArchitecture(cased);
  const spec = { targetModules: ['query', 'value'], numLabels: NUM_LABELS.glue, trainHead: true };
  const unit = countAdapter(shapes, cased, { ...spec, rank: PUBLISHED.fltacRank });
  const shared = countAdapter(shapes, cased, { ...spec, rank: PUBLISHED.feditRank });
  return [
    {
      method: 'FL-TAC',
      values: tasks.length * unit.values,
      derivation: `${tasks.length} tasks x (${unit.parts})`,
    },
    {
      method: 'FedIT',
      values: PUBLISHED.feditRank * unit.values,
      derivation: `rank ${PUBLISHED.feditRank} x ${grouped(unit.values)} (${unit.parts})`,
      note: `this multiplies the head by the rank as well; one rank-${PUBLISHED.feditRank} adapter has ${grouped(shared.values)} values`,
    },
    {
      method: 'full fine-tuning',
      values: backbone.parameters + unit.head,
      derivation: `${grouped(backbone.parameters)} ${PUBLISHED.backbone} + ${grouped(unit.head)} head`,
      note: `this is the cased model, with ${grouped(backbone.vocabSize)} words; ${PUBLISHED.named} has ${grouped(uncased.parameters)} + ${grouped(unit.head)}`,
    },
  ];
}

/** `108311810` -> `108,311,810` */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
