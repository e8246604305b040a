/**
 * Prompts and answers to the token ids that a language model is trained on, equal to what transformers gives for
 * `tokenizer(prompt + response + eos_token, truncation=True, max_length=…)`, and ids back to text.
 */
import type { Tokenizer } from 'tokenizers';
import { FltacError } from '../errors.js';
import { openTokenizer, readOptionalJson, type JsonObject } from './model-files.js';

/** A prompt and its answer as one sequence. */
export interface EncodedAnswer {
  /** at most maxLen */
  ids: readonly number[];
  /** leading ids that belong to the prompt */
  promptLength: number;
}

/** A language model's tokenizer, with the length its training sequences are cut to. */
export class CausalTokenizer {
  private constructor(
    private readonly tokenizer: Tokenizer,
    /** a hash of tokenizer.json and of what else decides on the ids of a text */
    readonly fingerprint: string,
    readonly maxLen: number,
    /** special tokens before a text, as bos */
    private readonly prefix: readonly number[],
    private readonly eosToken: string,
    /** ids that end an answer: the tokenizer's, and those that the model's generation settings name */
    readonly eosIds: readonly number[],
  ) {}

  /**
   * Reads tokenizer.json and config.json of a model's folder and, where they are there, tokenizer_config.json and
   * generation_config.json.
   * @throws IO where one cannot be read; FORMAT where one is broken or none names an end token that the tokenizer has;
   * USAGE where maxLen does not suit the model
   */
  static async open(folder: string, maxLen: number): Promise<CausalTokenizer> {
    const { tokenizer, fingerprint, config } = await openTokenizer(folder, maxLen);
    const [own, generation] = await Promise.all([
      readOptionalJson(folder, 'tokenizer_config.json'),
      readOptionalJson(folder, 'generation_config.json'),
    ]);
    const prefix = await leadingSpecials(tokenizer);
    if (maxLen <= prefix.length + 1) {
      throw new FltacError('USAGE', `max_len is ${maxLen}, which leaves no room for a prompt and an answer: raise it`);
    }
    const named = [...endIds(config), ...endIds(generation ?? {})];
    const eosToken = tokenText(own?.['eos_token']) ?? (named[0] === undefined ? null : tokenizer.idToToken(named[0]));
    const eosId = eosToken === null ? null : tokenizer.tokenToId(eosToken);
    if (eosToken === null || eosId === null) {
      const found = eosToken === null ? 'none is named' : `"${eosToken}" is not in tokenizer.json`;
      throw new FltacError(
        'FORMAT',
        `${folder}: expected the token that ends an answer (eos_token of tokenizer_config.json, or eos_token_id of ` +
          `config.json), but ${found}: save the model's tokenizer with save_pretrained`,
      );
    }
    const identity = [fingerprint, ...prefix, eosToken].join(' ');
    return new CausalTokenizer(tokenizer, identity, maxLen, prefix, eosToken, [...new Set([eosId, ...named])]);
  }

  /** Prompts with their answers and the end token, cut at maxLen. */
  async encode(rows: readonly { prompt: string; response: string }[]): Promise<EncodedAnswer[]> {
    const whole = await this.contents(rows.map(({ prompt, response }) => prompt + response + this.eosToken));
    const prompts = await this.contents(rows.map(({ prompt }) => prompt));
    return whole.map((content, i) => {
      const ids = [...this.prefix, ...content].slice(0, this.maxLen);
      return { ids, promptLength: Math.min(this.prefix.length + prompts[i]!.length, ids.length) };
    });
  }

  /** Prompts alone, whole, ready to be continued. */
  async encodePrompts(prompts: readonly string[]): Promise<number[][]> {
    return (await this.contents(prompts)).map((content) => [...this.prefix, ...content]);
  }

  /** The texts of ids, without special tokens. */
  async decode(ids: readonly (readonly number[])[]): Promise<string[]> {
    if (ids.length === 0) return [];
    return this.tokenizer.decodeBatch(
      ids.map((answer) => [...answer]),
      true,
    );
  }

  private async contents(texts: readonly string[]): Promise<number[][]> {
    const encodings = await this.tokenizer.encodeBatch([...texts], { addSpecialTokens: false });
    return encodings.map((encoding) => encoding.getIds());
  }
}

/**
 * What the tokenizer's own template puts before a text. What it would put after one is left out: the end token is part
 * of the text here, and a prompt must stay open.
 */
async function leadingSpecials(tokenizer: Tokenizer): Promise<number[]> {
  const probe = await tokenizer.encode('a');
  const mask = probe.getSpecialTokensMask();
  const content = mask.indexOf(0);
  return probe.getIds().slice(0, content < 0 ? mask.length : content);
}

/** `eos_token_id`: a number, a list of numbers, or nothing. */
function endIds(config: JsonObject): number[] {
  const value = config['eos_token_id'];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id) => typeof id === 'number');
}

/** A token as tokenizer_config.json writes it: its text, or an object around it. */
function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && 'content' in value && typeof value.content === 'string') {
    return value.content;
  }
  return null;
}
