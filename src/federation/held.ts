/**
 * Which adapter each client holds for each of its tasks. Adapters are numbered: those of a round's clusters by their
 * label, and above them those that clients kept that did not take part in it.
 */
import type { Holding } from './evaluation.js';
import type { Plan, PlannedAdapter } from './plan.js';

/**
 * The numbers after a round.
 *
 * @param held number of the adapter that each planned one was before; equal numbers mean equal adapters
 * @param labels cluster of each planned adapter in the round, undefined where it was not part of it
 * @param clusters clusters of the round
 * @returns numbers from 0 up without gaps
 */
export function heldAfter(
  held: readonly number[],
  labels: readonly (number | undefined)[],
  clusters: number,
): readonly number[] {
  const kept = new Map<number, number>();
  return held.map((before, i) => {
    const label = labels[i];
    if (label !== undefined) return label;
    const number = kept.get(before) ?? clusters + kept.size;
    kept.set(before, number);
    return number;
  });
}

/**
 * What each client holds for each of its tasks when planned adapter i is number `held[i]`.
 *
 * @param rowOf bank row that holds a planned adapter of a number
 */
export function holdingsOf(
  plan: Plan,
  held: readonly number[],
  rowOf: (adapter: PlannedAdapter, number: number) => number,
): Holding[] {
  return plan.adapters.flatMap((adapter, i) =>
    adapter.parts.map(({ task, samples }) => {
      const cluster = held[i]!;
      return { task, cluster, row: rowOf(adapter, cluster), samples };
    }),
  );
}

/** Numbers those of `adapters` that were submitted by their order, each by itself; undefined for the others. */
export function ownNumbers(
  adapters: readonly PlannedAdapter[],
  submitted: ReadonlySet<number>,
): readonly (number | undefined)[] {
  let next = 0;
  return adapters.map(({ row }) => (submitted.has(row) ? next++ : undefined));
}
