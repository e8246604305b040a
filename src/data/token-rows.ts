/** Token sequences of a table's rows: tokenised when a row is first wanted, then kept in memory and, with a store, on disk. */
import { FltacError } from '../errors.js';
import { GrowingArray } from './table.js';
import type { TokenPart, TokenStore } from './token-store.js';

/** Rows tokenised in one native call. */
export const BATCH_ROWS = 256;

/** One row's tokens. */
export interface EncodedRow {
  ids: ArrayLike<number>;
  /** one a token: BERT's segment ids, or 1 for the tokens of an answer; empty where the model needs none */
  marks: ArrayLike<number>;
}

export interface TokenRowsOptions {
  rows: number;
  encode: (rows: readonly number[]) => Promise<EncodedRow[]>;
  /** opened when a row is first wanted */
  store?: (() => Promise<TokenStore>) | undefined;
}

export interface EnsureOptions {
  signal?: AbortSignal | undefined;
  /** rows that are ready, of those that were asked for */
  onRows?: (done: number) => void;
}

export class TokenRows {
  readonly #ids = new GrowingArray((length) => new Int32Array(length));
  readonly #marks = new GrowingArray((length) => new Uint8Array(length));
  /** rows in the order in which their tokens lie in `ids` */
  readonly #order = new GrowingArray((length) => new Int32Array(length));
  /** where a row's tokens start in `ids`; -1 while it is not tokenised */
  readonly #starts: Float64Array;
  readonly #lengths: Int32Array;
  readonly #options: TokenRowsOptions;
  #store: TokenStore | undefined;
  #restored: Promise<void> | undefined;
  /** calls wait for one another, so that no row is tokenised twice */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: TokenRowsOptions) {
    this.#options = options;
    this.#starts = new Float64Array(options.rows).fill(-1);
    this.#lengths = new Int32Array(options.rows);
  }

  /** Makes these rows' tokens ready (rows may repeat). @throws ABORTED, and what the tokenizer throws */
  async ensure(rows: Int32Array, options: EnsureOptions = {}): Promise<void> {
    const ready = this.#last.then(() => this.#tokenise(rows, options));
    this.#last = ready.catch(() => undefined);
    await ready;
  }

  length(row: number): number {
    return this.#lengths[row]!;
  }

  /** The ids of a row that is ready; valid until the next `ensure`. */
  ids(row: number): Int32Array {
    const start = this.#starts[row]!;
    return this.#ids.view(start, start + this.#lengths[row]!);
  }

  /** Likewise. */
  marks(row: number): Uint8Array {
    const start = this.#starts[row]!;
    return this.#marks.view(start, start + this.#lengths[row]!);
  }

  /** Waits until what was tokenised is on disk, where it is kept there. */
  async settled(): Promise<void> {
    await this.#store?.settled();
  }

  async #tokenise(rows: Int32Array, { signal, onRows }: EnsureOptions): Promise<void> {
    await (this.#restored ??= this.#restore());
    const wanted = [...new Set(rows)];
    const missing = wanted.filter((row) => this.#starts[row] === -1);
    const ready = wanted.length - missing.length;
    const first = this.#order.length;
    if (ready > 0) onRows?.(ready);
    for (let from = 0; from < missing.length; from += BATCH_ROWS) {
      if (signal?.aborted) throw new FltacError('ABORTED', 'stopped while the data were tokenised');
      const batch = missing.slice(from, from + BATCH_ROWS);
      const encoded = await this.#options.encode(batch);
      for (const [index, row] of batch.entries()) this.#add(row, encoded[index]!);
      onRows?.(ready + from + batch.length);
    }
    if (missing.length > 0) this.#store?.keep(this.#part(first), () => this.#part(0));
  }

  async #restore(): Promise<void> {
    this.#store = await this.#options.store?.();
    for (const { rows, lengths, ids, marks } of (await this.#store?.read()) ?? []) {
      let at = 0;
      for (const [i, row] of rows.entries()) {
        const end = at + lengths[i]!;
        if (this.#starts[row] === -1) this.#add(row, { ids: ids.subarray(at, end), marks: marks.subarray(at, end) });
        at = end;
      }
    }
  }

  #add(row: number, { ids, marks }: EncodedRow): void {
    this.#starts[row] = this.#ids.length;
    this.#lengths[row] = ids.length;
    this.#ids.pushAll(ids);
    this.#marks.pushAll(marks);
    this.#order.push(row);
  }

  /** The rows from the `first` in the order of their tokens. What is in it does not change as more rows come. */
  #part(first: number): TokenPart {
    const rows = this.#order.view(first, this.#order.length);
    const from = rows.length === 0 ? this.#ids.length : this.#starts[rows[0]!]!;
    return {
      rows,
      lengths: rows.map((row) => this.#lengths[row]!),
      ids: this.#ids.view(from, this.#ids.length),
      marks: this.#marks.view(Math.min(from, this.#marks.length), this.#marks.length),
    };
  }
}
