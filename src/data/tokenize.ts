/**
 * Texts to token ids, equal to what Python's `tokenizers` gives with truncation 'longest_first' and no padding.
 *
 * The npm package's own truncation (0.23.2) cuts some pairs one token differently from Python's (0.23.3), and its
 * encodeBatch takes no pairs. So texts are encoded one by one in batches, cut here, and joined by the tokenizer's own
 * post-processor, which adds the special tokens and segment ids.
 */
import type { Encoding, Tokenizer } from 'tokenizers';
import type { PackedSequences } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { openTokenizer } from './model-files.js';
import { checkRows, type Table } from './table.js';
import { TokenRows } from './token-rows.js';
import type { TokenCache } from './token-store.js';

/**
 * How many tokens of two texts stay when both together may have `budget`: the longer one is cut first, then both to
 * halves, of which the longer text (the second, where they are equal) gets the odd token. This is what `tokenizers`
 * (Rust, truncate_encodings, LongestFirst) does.
 */
export function longestFirst(first: number, second: number, budget: number): [number, number] {
  if (first + second <= budget) return [first, second];
  const short = Math.min(first, second);
  const half = Math.floor(budget / 2);
  const [less, more] = short <= half ? [short, budget - short] : [half, budget - half];
  return first > second ? [more, less] : [less, more];
}

/** A model's tokenizer, with the length its sequences are cut to. */
export class TextTokenizer {
  private constructor(
    private readonly tokenizer: Tokenizer,
    /** a hash of tokenizer.json */
    readonly fingerprint: string,
    readonly maxLen: number,
    /** whether the backbone knows segments (BERT does; DistilBERT and RoBERTa do not) */
    readonly hasTypeIds: boolean,
    /** special tokens that a single text and a pair get */
    private readonly specials: readonly [single: number, pair: number],
  ) {}

  /**
   * Reads tokenizer.json and config.json of a model's folder.
   * @throws IO where one is missing, FORMAT where it is broken, USAGE where maxLen does not suit the model
   */
  static async open(folder: string, maxLen: number): Promise<TextTokenizer> {
    const { tokenizer, fingerprint, config } = await openTokenizer(folder, maxLen);
    const specials = [await tokenizer.encode(''), await tokenizer.encode('', '')].map((empty) => empty.getLength());
    const [single = 0, pair = 0] = specials;
    if (maxLen <= pair) {
      throw new FltacError(
        'USAGE',
        `max_len is ${maxLen}, but the special tokens of a pair alone take ${pair}: raise it`,
      );
    }
    const segments = config['type_vocab_size'];
    const hasTypeIds = typeof segments === 'number' && segments > 1;
    return new TextTokenizer(tokenizer, fingerprint, maxLen, hasTypeIds, [single, pair]);
  }

  /** Encodes rows of one or two texts each. */
  async encode(rows: readonly (readonly string[])[]): Promise<{ ids: number[]; typeIds: number[] }[]> {
    const parts = await this.tokenizer.encodeBatch(rows.flat(), { addSpecialTokens: false });
    let next = 0;
    return rows.map((texts) => this.join(parts[next++]!, texts.length === 2 ? parts[next++] : undefined));
  }

  private join(first: Encoding, second: Encoding | undefined): { ids: number[]; typeIds: number[] } {
    const budget = this.maxLen - this.specials[second ? 1 : 0];
    const [keepFirst, keepSecond] = longestFirst(first.getLength(), second?.getLength() ?? 0, budget);
    // "right" must be said: without it this binding keeps a text's end.
    first.truncate(keepFirst, 0, 'right');
    second?.truncate(keepSecond, 0, 'right');
    const joined = this.tokenizer.postProcess(first, second ?? null, true);
    return { ids: joined.getIds(), typeIds: this.hasTypeIds ? joined.getTypeIds() : [] };
  }
}

/** A table's rows as token sequences; each row is tokenised when it is first wanted, and kept. */
export class TokenizedTable {
  readonly #tokenizer: TextTokenizer;
  readonly #table: Table;
  readonly #tokens: TokenRows;

  /** @param cache keeps tokens on disk; they are in memory either way */
  constructor(tokenizer: TextTokenizer, table: Table, cache?: TokenCache) {
    const { rows, texts } = table;
    const { maxLen, hasTypeIds } = tokenizer;
    this.#tokenizer = tokenizer;
    this.#table = table;
    this.#tokens = new TokenRows({
      rows,
      encode: async (batch) => {
        const encoded = await tokenizer.encode(batch.map((row) => texts.map((text) => text.get(row))));
        return encoded.map(({ ids, typeIds }) => ({ ids, marks: typeIds }));
      },
      store:
        cache &&
        (() =>
          cache.open(['texts', tokenizer.fingerprint, hasTypeIds, maxLen, ...texts.map((text) => text.digest())], {
            rows,
            maxLen,
            marks: hasTypeIds,
          })),
    });
  }

  /** These rows in this order (they may repeat), with their labels. @throws SHAPE for a row that does not exist */
  async sequences(rows: Int32Array): Promise<PackedSequences> {
    checkRows(rows, this.#table.rows);
    await this.#tokens.ensure(rows);
    return this.#pack(rows);
  }

  /** Waits until what was tokenised is on disk. */
  async settled(): Promise<void> {
    await this.#tokens.settled();
  }

  #pack(rows: Int32Array): PackedSequences {
    const offsets = new Int32Array(rows.length + 1);
    for (const [index, row] of rows.entries()) offsets[index + 1] = offsets[index]! + this.#tokens.length(row);
    const total = offsets[rows.length]!;
    const ids = new Int32Array(total);
    const typeIds = this.#tokenizer.hasTypeIds ? new Uint8Array(total) : undefined;
    for (const [index, row] of rows.entries()) {
      ids.set(this.#tokens.ids(row), offsets[index]);
      typeIds?.set(this.#tokens.marks(row), offsets[index]);
    }
    const labels = Int32Array.from(rows, (row) => this.#table.labels[row]!);
    return { ids, offsets, labels, ...(typeIds && { typeIds }) };
  }
}
