/** The files of a small language model's folder, but for its weights: every word is a token. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './files.js';

export const BOS = 1;
export const EOS = 2;
const FIRST_WORD = 3;

export interface CausalFiles {
  config?: object;
  tokenizerConfig?: object | null;
  generationConfig?: object;
  /** whether the tokenizer's template also ends a text, as some do */
  endsText?: boolean;
}

/** A model folder whose tokenizer has these words after <unk>, <s> and </s>; any other word is <unk> (0). */
export function causalModel(words: readonly string[], files: CausalFiles = {}): string {
  const folder = join(temporaryFolder(), 'model');
  mkdirSync(folder);
  const write = (name: string, content: object) => writeFileSync(join(folder, name), JSON.stringify(content));
  write('config.json', { model_type: 'llama', max_position_embeddings: 64, ...files.config });
  write('tokenizer.json', tokenizer(words, files.endsText ?? false));
  if (files.tokenizerConfig !== null) write('tokenizer_config.json', files.tokenizerConfig ?? { eos_token: '</s>' });
  if (files.generationConfig) write('generation_config.json', files.generationConfig);
  return folder;
}

/** The ids of words of `causalModel`. */
export function idsOf(words: readonly string[], text: string): number[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => (words.includes(word) ? FIRST_WORD + words.indexOf(word) : 0));
}

function tokenizer(words: readonly string[], endsText: boolean): object {
  const special = ['<unk>', '<s>', '</s>'];
  const piece = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const single = [piece('<s>'), { Sequence: { id: 'A', type_id: 0 } }, ...(endsText ? [piece('</s>')] : [])];
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({
      ...{ id, content, special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, { Sequence: { id: 'B', type_id: 0 } }],
      special_tokens: {
        '<s>': { id: '<s>', ids: [BOS], tokens: ['<s>'] },
        '</s>': { id: '</s>', ids: [EOS], tokens: ['</s>'] },
      },
    },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries([...special, ...words].map((word, id) => [word, id])),
      unk_token: '<unk>',
    },
  };
}
