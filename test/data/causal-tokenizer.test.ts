import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CausalTokenizer } from '../../src/data/causal-tokenizer.js';
import { BOS, EOS, causalModel, idsOf } from '../support/causal-model.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

const WORDS = ['say', 'what', 'a', 'boat', 'is', 'it', 'floats'];
const ids = (text: string) => idsOf(WORDS, text);
const PAIR = { prompt: 'say what a boat is\n', response: 'it floats' };

describe('CausalTokenizer', () => {
  it('puts the tokenizer’s own start before the prompt and one end token after the answer', async () => {
    const tokenizer = await CausalTokenizer.open(causalModel(WORDS), 16);
    const [encoded] = await tokenizer.encode([PAIR]);
    expect(encoded).toEqual({ ids: [BOS, ...ids('say what a boat is it floats'), EOS], promptLength: 6 });
  });

  it('does not let the template end a text a second time, nor close a prompt', async () => {
    const tokenizer = await CausalTokenizer.open(causalModel(WORDS, { endsText: true }), 16);
    const [encoded] = await tokenizer.encode([PAIR]);
    expect(encoded).toEqual({ ids: [BOS, ...ids('say what a boat is it floats'), EOS], promptLength: 6 });
    expect(await tokenizer.encodePrompts(['say it'])).toEqual([[BOS, ...ids('say it')]]);
  });

  it('cuts at maxLen: the answer first, then the prompt, which never counts more tokens than there are', async () => {
    const folder = causalModel(WORDS);
    const encoded = await Promise.all(
      [8, 7, 6, 5].map(async (maxLen) => (await (await CausalTokenizer.open(folder, maxLen)).encode([PAIR]))[0]!),
    );
    expect(encoded.map((answer) => [answer.ids.length, answer.promptLength])).toEqual([
      [8, 6],
      [7, 6],
      [6, 6],
      [5, 5],
    ]);
    expect(encoded[1]!.ids).toEqual([BOS, ...ids('say what a boat is it')]);
  });

  it('gives an empty answer the end token alone', async () => {
    const tokenizer = await CausalTokenizer.open(causalModel(WORDS), 16);
    const [encoded] = await tokenizer.encode([{ ...PAIR, response: '' }]);
    expect(encoded!.ids.slice(encoded!.promptLength)).toEqual([EOS]);
  });

  it('gives ids back as text, without special tokens', async () => {
    const tokenizer = await CausalTokenizer.open(causalModel(WORDS), 16);
    expect(await tokenizer.decode([[BOS, ...ids('it floats'), EOS], [], ids('a boat')])).toEqual([
      'it floats',
      '',
      'a boat',
    ]);
    expect(await tokenizer.decode([])).toEqual([]);
  });

  it.each([
    ['the tokenizer’s', {}, [EOS]],
    ['the tokenizer’s, as an object', { tokenizerConfig: { eos_token: { content: '</s>' } } }, [EOS]],
    ['the config’s', { tokenizerConfig: null, config: { eos_token_id: EOS } }, [EOS]],
    ['several', { config: { eos_token_id: 5 }, generationConfig: { eos_token_id: [EOS, 6] } }, [EOS, 5, 6]],
  ])('knows the tokens that end an answer: %s', async (_, files, expected) => {
    expect((await CausalTokenizer.open(causalModel(WORDS, files), 16)).eosIds).toEqual(expected);
  });

  it.each([
    ['none is named', { tokenizerConfig: {} }],
    ['"<end>" is not in tokenizer.json', { tokenizerConfig: { eos_token: '<end>' } }],
  ])('refuses a model without an end token: %s', async (found, files) => {
    await expect(CausalTokenizer.open(causalModel(WORDS, files), 16)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringContaining(found) as string,
    });
  });

  it('refuses a max_len without room for an answer, or beyond the positions of the model', async () => {
    const folder = causalModel(WORDS);
    await expect(CausalTokenizer.open(folder, 2)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(CausalTokenizer.open(folder, 65)).rejects.toThrow(/max_len is 65, the model in .* has 64 positions/);
  });
});

interface Golden {
  row: number;
  padding_side: string;
  max_len: number;
  prompt: string;
  prompt_ids: number;
  input_ids: number[];
  attention_mask: number[];
  labels: number[];
}

describeWithShared('CausalTokenizer against transformers', () => {
  const { alpaca } = JSON.parse(readFileSync(sharedPath('golden/tokenize.json'), 'utf8')) as { alpaca: Golden[] };
  const lines = readFileSync(
    sharedPath('hub/datasets/databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl'),
    'utf8',
  ).split('\n');

  // Padding on the left shifts the published labels (see the golden's note); without padding both sides are one.
  it.each(['tiny-llama', 'tiny-llama-gqa'])(
    'gives the ids and labels of every Alpaca prompt with %s',
    async (model) => {
      for (const golden of alpaca) {
        const tokenizer = await CausalTokenizer.open(sharedPath(`hub/models/fltac-test/${model}`), golden.max_len);
        const { response } = JSON.parse(lines[golden.row]!) as { response: string };
        const [encoded] = await tokenizer.encode([{ prompt: golden.prompt, response }]);
        const place = `row ${golden.row}, ${golden.padding_side}, ${golden.max_len}`;
        const real = golden.input_ids.filter((_, i) => golden.attention_mask[i] === 1);
        expect(encoded!.ids, place).toEqual(real);
        expect(encoded!.promptLength, place).toBe(golden.prompt_ids);
        if (golden.padding_side !== 'right') continue;
        const labels = encoded!.ids.map((id, i) => (i < encoded!.promptLength ? -100 : id));
        expect(labels, place).toEqual(golden.labels.slice(0, real.length));
        expect(golden.labels.slice(real.length).every((label) => label === -100)).toBe(true);
      }
      expect(alpaca).toHaveLength(32);
    },
  );
});
