/** A classification task over texts: two tables, tokenised on demand. */
import type { PackedSequences } from '../engine/types.js';
import type { ScenarioTask } from './scenario.js';
import { checkTable, majorityShare, type Table } from './table.js';
import type { TokenCache } from './token-store.js';
import { TokenizedTable, type TextTokenizer } from './tokenize.js';

export interface TextTaskOptions {
  name: string;
  numLabels: number;
  train: Table;
  evaluation: Table;
  tokenizer: TextTokenizer;
  /** keeps tokens for the next start */
  cache?: TokenCache | undefined;
}

/** @throws FORMAT where a split is empty or a label is no class */
export function makeTextTask({
  name,
  numLabels,
  train,
  evaluation,
  tokenizer,
  cache,
}: TextTaskOptions): ScenarioTask<PackedSequences> {
  for (const table of [train, evaluation]) checkTable(table, name, numLabels);
  const trained = new TokenizedTable(tokenizer, train, cache);
  const evaluated = new TokenizedTable(tokenizer, evaluation, cache);
  return {
    name,
    numLabels,
    trainRows: train.rows,
    evalRows: evaluation.rows,
    majorityFloor: majorityShare(evaluation.labels),
    trainExamples: (rows) => trained.sequences(rows),
    evalExamples: (limit) => {
      const rows = Math.max(0, Math.min(limit, evaluation.rows));
      return evaluated.sequences(Int32Array.from({ length: rows }, (_, row) => row));
    },
  };
}
