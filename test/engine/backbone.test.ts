import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Backbone, evaluate } from '../../src/engine/index.js';
import type { ArchiveTensor, Examples } from '../../src/engine/index.js';
import { familyFixture } from '../support/files.js';
import { changedModel, classExamples, imageExamples, languageExamples, openBank } from '../support/models.js';

type Tensors = Map<string, ArchiveTensor>;

/** The losses of some examples and what is left unused, in a model as it is stored in `folder`. */
async function losses(folder: string, target: string, examples: Examples): Promise<[Float64Array, readonly string[]]> {
  const backbone = await Backbone.load(folder);
  const { unused } = backbone.info;
  backbone.dispose();
  const { bank, dispose } = await openBank(folder, 1, { targetModules: [target], loraDropout: 0 });
  const [result] = await evaluate(bank, [{ row: 0, examples }]);
  dispose();
  return [result!.exampleLosses, unused];
}

/** Every tensor under another name. */
function renamed(rename: (name: string) => string): (tensors: Tensors) => void {
  return (tensors) => {
    const all = [...tensors];
    tensors.clear();
    for (const [name, tensor] of all) tensors.set(rename(name), tensor);
  };
}

/** Transformers 5's name of a module to transformers 4's. */
function toTransformers4(name: string): string {
  const modules: Record<string, string> = {
    'attention.q_proj': 'attention.attention.query',
    'attention.k_proj': 'attention.attention.key',
    'attention.v_proj': 'attention.attention.value',
    'attention.o_proj': 'attention.output.dense',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
  };
  const found = /^layers\.(\d+)\.(.*)\.(weight|bias)$/.exec(name);
  if (!found) return name;
  return `encoder.layer.${found[1]}.${modules[found[2]!] ?? found[2]}.${found[3]}`;
}

describe('the names of tensors in a file', () => {
  const language = languageExamples(1, [5, 9]);
  it.each([
    ['deit', 'as in transformers 4', 'query', toTransformers4, imageOf()],
    ['deit', "with the whole model's prefix", 'query', (name: string) => `deit.${name}`, imageOf()],
    ['llama3', 'of the model without a head', 'q_proj', (name: string) => name.replace(/^model\./, ''), language],
    [
      'roberta',
      "with the whole model's prefix",
      'query',
      (name: string) => `roberta.${name}`,
      classExamples(1, [4, 7]),
    ],
    [
      'roberta',
      'with gamma and beta',
      'query',
      (name: string) => name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'),
      classExamples(1, [4, 7]),
    ],
  ] as const)('of %s may be %s', async (family, _, target, rename, examples) => {
    const [expected] = await losses(familyFixture(family), target, examples);
    const [found, unused] = await losses(await changedModel(family, {}, renamed(rename)), target, examples);
    expect(found).toEqual(expected);
    expect(unused.filter((name) => !name.includes('pooler'))).toEqual([]);
  });

  it('that no one asks for are listed, but for buffers of old versions', async () => {
    const folder = await changedModel('llama3', {}, (tensors) => {
      tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', { shape: [3], data: new Float32Array(3) });
      tensors.set('score.weight', { shape: [1, 16], data: new Float32Array(16) });
    });
    expect((await losses(folder, 'q_proj', language))[1]).toEqual(['score.weight']);
  });
});

describe('a tied language-model head', () => {
  it('is the word embedding, whatever copy of it the file holds', async () => {
    const examples = languageExamples(1, [5, 9]);
    const [expected] = await losses(familyFixture('qwen2'), 'q_proj', examples);
    const folder = await changedModel('qwen2', {}, (tensors) => {
      tensors.set('lm_head.weight', { shape: [48, 16], data: new Float32Array(48 * 16) });
    });
    expect(await losses(folder, 'q_proj', examples)).toEqual([expected, []]);
    const untied = await changedModel('qwen2', { tie_word_embeddings: false });
    await expect(Backbone.load(untied)).rejects.toMatchObject({
      code: 'MISSING_WEIGHT',
      message: expect.stringContaining('the tensor lm_head.weight is missing') as string,
    });
  });

  it('costs no further memory', async () => {
    const tied = await Backbone.load(familyFixture('qwen2'));
    const copied = await Backbone.load(
      await changedModel('qwen2', { tie_word_embeddings: false }, (tensors) => {
        tensors.set('lm_head.weight', tensors.get('model.embed_tokens.weight')!);
      }),
    );
    expect(copied.info.bytes - tied.info.bytes).toBeGreaterThanOrEqual(48 * 16 * 4);
    tied.dispose();
    copied.dispose();
  });
});

describe('a damaged model names the tensor', () => {
  const without = (name: string) => (tensors: Tensors) => void tensors.delete(name);
  const reshaped = (name: string, shape: number[]) => (tensors: Tensors) =>
    void tensors.set(name, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  it.each([
    ['vit', without('embeddings.cls_token'), 'MISSING_WEIGHT', /tensor vit\.embeddings\.cls_token is missing/],
    [
      'vit',
      without('encoder.layer.1.intermediate.dense.bias'),
      'MISSING_WEIGHT',
      /layer\.1\.intermediate\.dense\.bias/,
    ],
    ['vit', reshaped('embeddings.position_embeddings', [1, 99, 16]), 'SHAPE', /position_embeddings.*99.*17/],
    ['vit', reshaped('embeddings.patch_embeddings.projection.weight', [16, 3, 8, 8]), 'SHAPE', /projection\.weight/],
    ['llama3', without('model.norm.weight'), 'MISSING_WEIGHT', /model\.norm\.weight/],
    ['llama3', without('model.layers.0.mlp.gate_proj.weight'), 'MISSING_WEIGHT', /layers\.0\.mlp\.gate_proj\.weight/],
    ['llama3', reshaped('model.layers.1.self_attn.k_proj.weight', [24, 16]), 'SHAPE', /k_proj\.weight.*24.*12/],
    ['qwen2', without('model.layers.0.self_attn.q_proj.bias'), 'MISSING_WEIGHT', /q_proj\.bias/],
    ['distilbert', without('transformer.layer.0.sa_layer_norm.bias'), 'MISSING_WEIGHT', /sa_layer_norm\.bias/],
  ] as const)('%s, case %#', async (family, change, code, message) => {
    await expect(Backbone.load(await changedModel(family, {}, change))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });

  it('where the file is cut short', async () => {
    const folder = await changedModel('llama3', {});
    const file = join(folder, 'model.safetensors');
    truncateSync(file, readFileSync(file).length - 10);
    await expect(Backbone.load(folder)).rejects.toMatchObject({
      code: 'FORMAT',
      message: expect.stringMatching(/tensor "model\.norm\.weight".*cut short/) as string,
    });
  });
});

function imageOf() {
  return { ...imageExamples(1, 2), preprocess: { ...imageExamples(1, 1).preprocess, width: 12 } };
}
