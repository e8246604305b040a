/** A language model's task: to answer instructions. Both parts are tokenised at once and kept in typed arrays. */
import type { PackedSequences } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { CausalTokenizer } from './causal-tokenizer.js';
import { alpacaPrompt, selectRows, type InstructionRows } from './instructions.js';
import type { DataContext, HeldOutPrompts, ScenarioTask } from './scenario.js';
import { GrowingArray, checkRows } from './table.js';
import { BATCH_ROWS } from './tokenize.js';

/** A token with this label is not counted, as in transformers. */
export const IGNORED = -100;

export interface InstructionTaskOptions {
  name: string;
  train: InstructionRows;
  evaluation: InstructionRows;
  tokenizer: CausalTokenizer;
  context: DataContext;
}

/**
 * Makes a task of instructions in the Alpaca prompt: the prompt's tokens are not counted in the loss, those of the answer
 * and the end token are. Rows whose prompt alone fills max_len have nothing to learn from: they are left out of both
 * parts, and the log says how many.
 *
 * @throws FORMAT where a part has no rows, USAGE where max_len leaves none, ABORTED
 */
export async function makeInstructionTask(options: InstructionTaskOptions): Promise<ScenarioTask<PackedSequences>> {
  const { name, tokenizer } = options;
  for (const [part, rows] of [['training', options.train] as const, ['held-out', options.evaluation] as const]) {
    if (rows.length === 0) throw new FltacError('FORMAT', `task ${name} has no ${part} rows, at least 1 is needed`);
  }
  const { train, evaluation } = await tokeniseParts(options);
  reportSkipped(options, train, evaluation);
  return {
    name,
    numLabels: null,
    trainRows: train.rows.length,
    evalRows: evaluation.rows.length,
    majorityFloor: null,
    trainExamples: (rows) => settled(() => train.pack(rows)),
    evalExamples: (limit) => {
      const rows = Math.max(0, Math.min(limit, evaluation.rows.length));
      return settled(() => evaluation.pack(Int32Array.from({ length: rows }, (_, row) => row)));
    },
    evalPrompts: (rows) => promptsOf(evaluation.rows, rows, tokenizer),
  };
}

async function tokeniseParts({ name, train, evaluation, tokenizer, context }: InstructionTaskOptions) {
  const bar = context.log.progress(`tokenising ${name}`, train.length + evaluation.length);
  const part = (rows: InstructionRows, before: number) =>
    tokeniseRows(rows, tokenizer, { signal: context.signal, onRows: (done) => bar.update(before + done) });
  try {
    return { train: await part(train, 0), evaluation: await part(evaluation, train.length) };
  } finally {
    bar.done();
  }
}

/** What a synchronous step gives or throws, as a promise. */
async function settled<T>(step: () => T): Promise<T> {
  return Promise.resolve().then(step);
}

function reportSkipped(
  { name, tokenizer, context }: InstructionTaskOptions,
  ...parts: [AnswerTable, AnswerTable]
): void {
  const [train, evaluation] = parts;
  if (parts.every((part) => part.skipped === 0)) return;
  const count = (part: AnswerTable, what: string) =>
    `${part.skipped} of ${part.skipped + part.rows.length} ${what} rows`;
  const found = `${count(train, 'training')} and ${count(evaluation, 'held-out')}`;
  const why = `their prompts alone take max_len (${tokenizer.maxLen}) tokens, which leaves none of the answer`;
  if (parts.some((part) => part.rows.length === 0)) {
    throw new FltacError('USAGE', `task ${name}: ${found} cannot be used: ${why}; raise max_len`);
  }
  context.log.warn(`task ${name}: ${found} are left out: ${why}; raise max_len to use them`);
}

async function promptsOf(from: InstructionRows, rows: Int32Array, tokenizer: CausalTokenizer): Promise<HeldOutPrompts> {
  checkRows(rows, from.length);
  const asked = Array.from(rows, (row) => from.get(row));
  const texts = asked.map(alpacaPrompt);
  const encoded = await tokenizer.encodePrompts(texts);
  const offsets = new Int32Array(rows.length + 1);
  for (const [i, ids] of encoded.entries()) offsets[i + 1] = offsets[i]! + ids.length;
  return { ids: Int32Array.from(encoded.flat()), offsets, texts, references: asked.map((row) => row.response) };
}

/** Tokenises all rows and keeps those that have at least one token of an answer. @throws ABORTED */
async function tokeniseRows(
  all: InstructionRows,
  tokenizer: CausalTokenizer,
  { signal, onRows }: { signal: AbortSignal | undefined; onRows: (done: number) => void },
): Promise<AnswerTable> {
  const kept = new GrowingArray((length) => new Int32Array(length));
  const ids = new GrowingArray((length) => new Int32Array(length));
  const starts = new GrowingArray((length) => new Float64Array(length));
  const promptLengths = new GrowingArray((length) => new Int32Array(length));
  for (let from = 0; from < all.length; from += BATCH_ROWS) {
    if (signal?.aborted) throw new FltacError('ABORTED', 'stopped while the data were tokenised');
    const rows = Array.from({ length: Math.min(BATCH_ROWS, all.length - from) }, (_, i) => all.get(from + i));
    const encoded = await tokenizer.encode(rows.map((row) => ({ prompt: alpacaPrompt(row), response: row.response })));
    for (const [i, answer] of encoded.entries()) {
      if (answer.promptLength === answer.ids.length) continue;
      kept.push(from + i);
      starts.push(ids.length);
      ids.pushAll(answer.ids);
      promptLengths.push(answer.promptLength);
    }
    onRows(from + rows.length);
  }
  starts.push(ids.length);
  const rows = selectRows(all, kept.finish());
  return new AnswerTable(rows, all.length - rows.length, ids.finish(), starts.finish(), promptLengths.finish());
}

/** Tokenised prompts with their answers. */
class AnswerTable {
  constructor(
    readonly rows: InstructionRows,
    /** rows that were left out */
    readonly skipped: number,
    private readonly ids: Int32Array,
    /** row r is ids[starts[r]] up to ids[starts[r + 1]] */
    private readonly starts: Float64Array,
    private readonly promptLengths: Int32Array,
  ) {}

  /** These rows in this order (they may repeat). @throws SHAPE for a row that does not exist */
  pack(rows: Int32Array): PackedSequences {
    checkRows(rows, this.rows.length);
    const offsets = new Int32Array(rows.length + 1);
    for (const [i, row] of rows.entries()) offsets[i + 1] = offsets[i]! + this.starts[row + 1]! - this.starts[row]!;
    const ids = new Int32Array(offsets[rows.length]!);
    const labels = new Int32Array(ids.length).fill(IGNORED);
    for (const [i, row] of rows.entries()) {
      const answer = this.promptLengths[row]!;
      const whole = this.ids.subarray(this.starts[row], this.starts[row + 1]);
      ids.set(whole, offsets[i]);
      labels.set(whole.subarray(answer), offsets[i]! + answer);
    }
    return { ids, offsets, labels };
  }
}
