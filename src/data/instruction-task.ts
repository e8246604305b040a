/** A language model's task: to answer instructions. Both parts are tokenised at once and kept in typed arrays. */
import { createHash } from 'node:crypto';
import type { PackedSequences } from '../engine/types.js';
import { FltacError } from '../errors.js';
import type { CausalTokenizer } from './causal-tokenizer.js';
import { alpacaPrompt, selectRows, type InstructionRows } from './instructions.js';
import type { DataContext, HeldOutPrompts, ScenarioTask } from './scenario.js';
import { checkRows } from './table.js';
import { TokenRows, type EnsureOptions } from './token-rows.js';
import type { TokenCache } from './token-store.js';

/** A token with this label is not counted, as in transformers. */
export const IGNORED = -100;

/** marks a token of an answer, the end token included; a prompt's have 0 */
const ANSWER = 1;

export interface InstructionTaskOptions {
  name: string;
  train: InstructionRows;
  evaluation: InstructionRows;
  tokenizer: CausalTokenizer;
  context: DataContext;
  /** keeps tokens for the next start */
  cache?: TokenCache | undefined;
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

async function tokeniseParts({ name, train, evaluation, context, ...options }: InstructionTaskOptions) {
  const bar = context.log.progress(`tokenising ${name}`, train.length + evaluation.length);
  const part = (rows: InstructionRows, before: number) =>
    tokeniseRows(rows, { ...options, signal: context.signal, onRows: (done) => bar.update(before + done) });
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

type TokeniseOptions = Pick<InstructionTaskOptions, 'tokenizer' | 'cache'> & EnsureOptions;

/** Tokenises all rows and keeps those that have at least one token of an answer. @throws ABORTED */
async function tokeniseRows(all: InstructionRows, options: TokeniseOptions): Promise<AnswerTable> {
  const { tokenizer, cache, ...ensure } = options;
  const { maxLen, fingerprint } = tokenizer;
  const tokens = new TokenRows({
    rows: all.length,
    encode: async (batch) => {
      const rows = batch.map((row) => all.get(row));
      const encoded = await tokenizer.encode(
        rows.map((row) => ({ prompt: alpacaPrompt(row), response: row.response })),
      );
      return encoded.map(({ ids, promptLength }) => ({
        ids,
        marks: new Uint8Array(ids.length).fill(ANSWER, promptLength),
      }));
    },
    store:
      cache &&
      (() =>
        cache.open(['instructions', fingerprint, maxLen, digestOf(all)], { rows: all.length, maxLen, marks: true })),
  });
  await tokens.ensure(
    Int32Array.from({ length: all.length }, (_, row) => row),
    ensure,
  );
  const kept: number[] = [];
  for (let row = 0; row < all.length; row += 1) if (tokens.marks(row).at(-1) === ANSWER) kept.push(row);
  return new AnswerTable(selectRows(all, Int32Array.from(kept)), all.length - kept.length, kept, tokens);
}

function digestOf(rows: InstructionRows): string {
  const hash = createHash('sha256');
  for (let row = 0; row < rows.length; row += 1) {
    const { instruction, context, response } = rows.get(row);
    hash.update(JSON.stringify([instruction, context, response]));
  }
  return hash.digest('hex');
}

/** Tokenised prompts with their answers. */
class AnswerTable {
  constructor(
    readonly rows: InstructionRows,
    /** rows that were left out */
    readonly skipped: number,
    /** where the rows are among the tokens */
    private readonly places: readonly number[],
    private readonly tokens: TokenRows,
  ) {}

  /** These rows in this order (they may repeat). @throws SHAPE for a row that does not exist */
  pack(rows: Int32Array): PackedSequences {
    checkRows(rows, this.rows.length);
    const places = Array.from(rows, (row) => this.places[row]!);
    const offsets = new Int32Array(rows.length + 1);
    for (const [i, place] of places.entries()) offsets[i + 1] = offsets[i]! + this.tokens.length(place);
    const ids = new Int32Array(offsets[rows.length]!);
    const labels = new Int32Array(ids.length).fill(IGNORED);
    for (const [i, place] of places.entries()) {
      const whole = this.tokens.ids(place);
      const answer = this.tokens.marks(place).indexOf(ANSWER);
      ids.set(whole, offsets[i]);
      labels.set(whole.subarray(answer), offsets[i]! + answer);
    }
    return { ids, offsets, labels };
  }
}
