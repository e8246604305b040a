/**
 * What a run writes down of its own checks: a `proof` in each round_done record, which also binds the round's records
 * and adapters by digest, and at the end the proof that the saved adapters are those that were evaluated.
 */
import type { PairResult } from '../federation/evaluation.js';
import type { RoundProof } from '../federation/outcome.js';
import type { Federation } from '../federation/round.js';
import { FltacError } from '../errors.js';
import { readRoundAdapters, roundFile } from './artifacts.js';
import { digestOfFile, digestOfText } from './digest.js';
import type { JsonRecord } from './journal.js';
import type { OpenRun } from './open.js';

/** Digest of records as a journal writes them, one a line. */
export function digestOfRecords(records: readonly JsonRecord[]): string {
  return digestOfText(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}

/**
 * The records of a round with a `proof` in the last, round_done. Digests leave times out: only round_done has any.
 *
 * @param assignment the round's record of cluster_assignments.jsonl
 * @param adapters path of the round's adapters, where they were saved
 */
export async function withProof(
  records: readonly JsonRecord[],
  { movedTensors, clusterSizes, means }: RoundProof,
  assignment: JsonRecord,
  adapters: string | undefined,
): Promise<JsonRecord[]> {
  const before = records.slice(0, -1);
  const proof = {
    moved_tensors: movedTensors,
    cluster_sizes: clusterSizes,
    mean_values: means?.values ?? 0,
    mean_error: means?.error ?? null,
    records_sha256: digestOfRecords(before),
    assignment_sha256: digestOfRecords([assignment]),
    adapters_sha256: adapters === undefined ? null : await digestOfFile(adapters),
  };
  return [...before, { ...records.at(-1), proof }];
}

/** That what lies on disk is what was evaluated. */
export interface ReloadProof {
  round: number;
  /** (task, cluster) pairs evaluated with the adapters in memory and with the file's */
  adapters: number;
  /** rows evaluated twice, over all pairs */
  rows: number;
}

/**
 * Reads the last round's adapters back and evaluates one batch of each task with them and with those in memory: every
 * logit and loss must be the same bits. That the file's values are the same was proved as it was written; this proves
 * that names, labels and a frozen head come back to the same place.
 *
 * @throws FltacError INTERNAL naming task and cluster
 */
export async function proveReload(
  run: OpenRun,
  federation: Federation,
  folder: string,
  signal: AbortSignal,
): Promise<ReloadProof> {
  const round = federation.rounds;
  const file = roundFile(folder, round);
  const { states } = await readRoundAdapters(run.face, file, federation.layout);
  const held = await federation.probe(undefined, signal);
  const read = await federation.probe(states, signal);
  held.forEach((pair, i) => {
    if (sameResult(pair, read[i]!)) return;
    throw new FltacError(
      'INTERNAL',
      `${file}: task ${run.scenario.tasks[pair.task]!.name}, cluster ${pair.cluster}: the adapter read back gives ` +
        `loss ${read[i]!.result.loss}, in memory it gave ${pair.result.loss}`,
    );
  });
  return { round, adapters: held.length, rows: held.reduce((sum, pair) => sum + pair.labels.length, 0) };
}

function sameResult(a: PairResult, b: PairResult): boolean {
  const same = (x: ArrayLike<number>, y: ArrayLike<number>) =>
    x.length === y.length && Array.prototype.every.call(x, (value, i) => value === y[i]);
  return (
    a.metric === b.metric &&
    same(a.result.logits, b.result.logits) &&
    same(a.result.exampleLosses, b.result.exampleLosses)
  );
}
