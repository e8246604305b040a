/**
 * What is sent of an adapter and how its factors are averaged, as a table. LoRA changes a weight by the product B A, but
 * the mean of products is not the product of means: ||mean(B A) - mean(B) mean(A)||, relative to ||mean(B A)||, is the
 * error of averaging factors, which every round records.
 */
import type { AdapterLayout } from '../engine/types.js';
import type { GroupingName } from './methods.js';

/** A tensor of an adapter: LoRA's factors A [rank, inputs] and B [outputs, rank], or a part of the trained head. */
export type TensorKind = 'a' | 'b' | 'head';

export interface Aggregation {
  /** one line for people */
  readonly summary: string;
  /** kinds of tensors that clients send, and get their cluster's mean of; the others stay with the client */
  readonly shares: readonly TensorKind[];
  /** whether A keeps its common initial state */
  readonly freezesA: boolean;
  /** whether the factors become those of the mean product, instead of the means of the factors */
  readonly ofProducts: boolean;
}

export type AggregationName = 'mean' | 'delta_w' | 'ffa' | 'fedsa';

export const AGGREGATIONS: Readonly<Record<AggregationName, Aggregation>> = {
  mean: {
    summary: 'A and B are averaged, as published',
    shares: ['a', 'b', 'head'],
    freezesA: false,
    ofProducts: false,
  },
  delta_w: {
    summary: 'the products B A are averaged exactly and factored again by a truncated singular value decomposition',
    shares: ['a', 'b', 'head'],
    freezesA: false,
    ofProducts: true,
  },
  ffa: {
    summary: 'A stays at the common initial state and is not sent; B is averaged, exactly (Sun et al., 2024, FFA-LoRA)',
    shares: ['b', 'head'],
    freezesA: true,
    ofProducts: false,
  },
  fedsa: {
    summary: 'A is averaged; B stays with its client (Guo et al., 2025, FedSA-LoRA)',
    shares: ['a', 'head'],
    freezesA: false,
    ofProducts: false,
  },
};

/** The aggregation that a method's rounds go by: without grouping nothing is sent, and all of an adapter is trained. */
export function aggregationOf(grouping: GroupingName, name: AggregationName): Aggregation {
  return AGGREGATIONS[grouping === 'none' ? 'mean' : name];
}

/** Whether the members of a cluster hold equal adapters afterwards: nothing that differs between them stays with them. */
export function leavesEqual({ shares, freezesA }: Aggregation): boolean {
  const equal = (kind: TensorKind) => shares.includes(kind) || (kind === 'a' && freezesA);
  return (['a', 'b', 'head'] as const).every(equal);
}

/** One tensor's place in a flat adapter. */
export interface TensorRange {
  readonly kind: TensorKind;
  readonly begin: number;
  readonly end: number;
}

/** The tensors of a layout that are of some kinds, in its order. */
export function rangesOf({ tensors, size }: AdapterLayout, kinds: readonly TensorKind[]): TensorRange[] {
  return tensors
    .map(({ name, offset }, i) => ({ kind: kindOf(name), begin: offset, end: tensors[i + 1]?.offset ?? size }))
    .filter(({ kind }) => kinds.includes(kind));
}

function kindOf(name: string): TensorKind {
  if (name.includes('.lora_A.')) return 'a';
  return name.includes('.lora_B.') ? 'b' : 'head';
}
