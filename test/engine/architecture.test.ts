import { describe, expect, it } from 'vitest';
import { adapterLayout, describeArchitecture } from '../../src/engine/index.js';
import { FltacError } from '../../src/errors.js';
import { ALL_MODULES, changedConfig, SPEC, type Changes } from '../support/models.js';

/** The keys of published configurations that decide shapes; absent keys take transformers' defaults. */
const PUBLISHED = {
  'google/vit-base-patch16-224-in21k': {
    model_type: 'vit',
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
    image_size: 224,
    patch_size: 16,
  },
  'huggyllama/llama-7b': {
    model_type: 'llama',
    vocab_size: 32000,
    hidden_size: 4096,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    intermediate_size: 11008,
    rms_norm_eps: 1e-6,
  },
  'mistralai/Mistral-7B-v0.1': {
    model_type: 'mistral',
    vocab_size: 32000,
    hidden_size: 4096,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    intermediate_size: 14336,
    max_position_embeddings: 32768,
    sliding_window: 4096,
  },
  'Qwen/Qwen2-0.5B': {
    model_type: 'qwen2',
    vocab_size: 151936,
    hidden_size: 896,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    intermediate_size: 4864,
    tie_word_embeddings: true,
  },
  'FacebookAI/roberta-base': {
    model_type: 'roberta',
    vocab_size: 50265,
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
    max_position_embeddings: 514,
    type_vocab_size: 1,
    pad_token_id: 1,
  },
  'distilbert-base-uncased': {
    model_type: 'distilbert',
    vocab_size: 30522,
    dim: 768,
    n_layers: 6,
    n_heads: 12,
    hidden_dim: 3072,
    max_position_embeddings: 512,
  },
};

describe('a published configuration', () => {
  it.each([
    // ViTModel without its pooler, LlamaModel, MistralModel, Qwen2Model, RobertaModel without pooler, DistilBertModel
    ['google/vit-base-patch16-224-in21k', 'images', 'classes', 197, 85_798_656],
    ['huggyllama/llama-7b', 'tokens', 'next_token', 2048, 6_607_343_616],
    ['mistralai/Mistral-7B-v0.1', 'tokens', 'next_token', 32768, 7_110_660_096],
    ['Qwen/Qwen2-0.5B', 'tokens', 'next_token', 32768, 494_032_768],
    ['FacebookAI/roberta-base', 'tokens', 'classes', 512, 124_055_040],
    ['distilbert-base-uncased', 'tokens', 'classes', 512, 66_362_880],
  ] as const)('%s reads %s, gives %s, over %i positions with %i values', (name, input, output, positions, values) => {
    const info = describeArchitecture(JSON.stringify(PUBLISHED[name]));
    expect(info).toMatchObject({ input, output, maxPositions: positions, parameters: values });
  });

  it.each([
    // The paper's counts: rank 1 on query and value
    ['google/vit-base-patch16-224-in21k', ['query', 'value'], 36_864],
    ['huggyllama/llama-7b', ['q_proj', 'v_proj'], 524_288],
  ] as const)('of %s has LoRA on %s with %i values at rank 1 and no head', (name, targetModules, size) => {
    const config = JSON.stringify(PUBLISHED[name]);
    expect(adapterLayout(config, { ...SPEC, rank: 1, targetModules }).size).toBe(size);
  });
});

describe('an adapter layout', () => {
  const namesOf = (family: string, targetModules: readonly string[], trainHead = false) =>
    adapterLayout(changedConfig(family, {}), { ...SPEC, targetModules, trainHead }).tensors.map(({ name }) => name);

  it.each([
    ['roberta', ALL_MODULES.bert],
    ['distilbert', ALL_MODULES.distilbert],
    ['vit', ALL_MODULES.vit],
    ['llama3', ALL_MODULES.llama],
  ] as const)('of %s can have LoRA on every linear module of a layer', (family, modules) => {
    const names = namesOf(family, modules);
    expect(names).toHaveLength(2 * 2 * modules.length);
    for (const module of modules) {
      const found = names.filter((name) => name.includes(`.${module}.lora_A.`));
      expect(found.length, module).toBeGreaterThanOrEqual(2);
    }
  });

  it("takes ViT's modules by the names of transformers 5 and gives those of transformers 4", () => {
    expect(namesOf('vit', ['q_proj', 'v_proj'])).toEqual(namesOf('vit', ['query', 'value']));
    expect(namesOf('deit', ['fc1', 'fc2', 'o_proj'])).toEqual(
      namesOf('deit', ['attention.output.dense', 'intermediate.dense', 'layer.0.output.dense', 'layer.1.output.dense']),
    );
  });

  it('holds both layers of a two-layer head where it is trained', () => {
    const heads = (family: string, target: string) =>
      namesOf(family, [target], true).filter((name) => name.includes('modules_to_save'));
    expect(heads('roberta', 'query')).toEqual(
      ['dense.bias', 'dense.weight', 'out_proj.bias', 'out_proj.weight'].map(
        (name) => `base_model.model.classifier.modules_to_save.default.${name}`,
      ),
    );
    expect(heads('distilbert', 'q_lin')).toEqual(
      ['classifier', 'pre_classifier'].flatMap((module) =>
        ['bias', 'weight'].map((name) => `base_model.model.${module}.modules_to_save.default.${name}`),
      ),
    );
  });

  it.each([
    ['llama3', { trainHead: true }, 'UNSUPPORTED', /head of llama stays frozen/],
    ['llama3', { targetModules: ['lm_head'] }, 'UNSUPPORTED', /"lm_head" names lm_head.*self_attn\.q_proj/],
    ['llama3', { targetModules: ['query'] }, 'USAGE', /"query" is not in this model.*mlp\.gate_proj/],
    ['roberta', { targetModules: ['dense'] }, 'UNSUPPORTED', /"dense" also names classifier\.dense/],
    ['vit', { targetModules: ['gate_proj'] }, 'USAGE', /attention\.attention\.query/],
    ['vit', { numLabels: 1 }, 'USAGE', /2 or more labels/],
  ] as const)('of %s refuses %o with %s', (family, changes, code, message) => {
    const spec = { ...SPEC, targetModules: family === 'llama3' ? ['q_proj'] : ['query'], ...changes };
    const error = errorOf(() => adapterLayout(changedConfig(family, {}), spec));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});

describe('a configuration that the engine cannot follow', () => {
  const rope = (changes: Changes) => ({
    rope_parameters: {
      rope_type: 'llama3',
      rope_theta: 100,
      factor: 4,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
      ...changes,
    },
  });
  const cases: [string, Changes, string, RegExp][] = [
    ['llama3', rope({ rope_type: 'yarn' }), 'UNSUPPORTED', /"yarn"; supported: "default", "linear", "llama3"/],
    ['llama_linear', { rope_scaling: { type: 'dynamic', factor: 2 } }, 'UNSUPPORTED', /"rope_scaling".*"dynamic"/],
    ['llama3', rope({ partial_rotary_factor: 0.5 }), 'UNSUPPORTED', /"partial_rotary_factor" is 0\.5/],
    ['llama3', rope({ factor: undefined }), 'FORMAT', /"rope_parameters": "factor" is missing/],
    ['llama3', rope({ rope_theta: -1 }), 'FORMAT', /"rope_theta" must be a number above 0, found -1/],
    ['llama3', rope({ low_freq_factor: 4 }), 'FORMAT', /"low_freq_factor" \(4\) must be below/],
    ['llama3', { rope_parameters: 5 }, 'FORMAT', /"rope_parameters" must be an object, found 5/],
    ['llama3', { num_key_value_heads: 3 }, 'FORMAT', /\(4\) is not a multiple of "num_key_value_heads" \(3\)/],
    ['llama3', { head_dim: 5 }, 'FORMAT', /the head size is 5/],
    ['llama3', { hidden_act: 'gelu' }, 'UNSUPPORTED', /"hidden_act" is "gelu"; only "silu" is supported/],
    ['llama3', { attention_bias: 'yes' }, 'FORMAT', /"attention_bias" must be true or false, found "yes"/],
    ['mistral', { sliding_window: 0 }, 'FORMAT', /"sliding_window" must be a whole number from 1/],
    ['qwen2', { layer_types: ['full_attention', 'full_attention'] }, 'UNSUPPORTED', /"layer_types"/],
    ['vit', { patch_size: 32 }, 'FORMAT', /"patch_size" \(32 x 32\) is larger than "image_size" \(16 x 16\)/],
    ['vit', { image_size: [16, 16, 3] }, 'FORMAT', /"image_size" must be a whole number/],
    ['vit', { num_channels: 1 }, 'UNSUPPORTED', /"num_channels" is 1; only 3 is supported/],
    ['vit', { hidden_act: 'quick_gelu' }, 'UNSUPPORTED', /only "gelu" is supported/],
    ['roberta', { pad_token_id: 40 }, 'FORMAT', /"pad_token_id" \(40\).*"max_position_embeddings" \(34\)/],
    ['roberta', { position_embedding_type: 'relative_key' }, 'UNSUPPORTED', /"relative_key"/],
    ['distilbert', { dim: undefined }, 'FORMAT', /"dim" is missing/],
    ['distilbert', { n_heads: 3 }, 'FORMAT', /"dim" \(16\) is not a multiple of "n_heads" \(3\)/],
    ['distilbert', { dropout: 1 }, 'FORMAT', /"dropout" must be a number from 0 to below 1/],
    ['vit', { model_type: 'swin' }, 'UNSUPPORTED', /"swin".*supported: bert, roberta, distilbert, vit, deit, llama/],
  ];
  it.each(cases)('%s with %o is refused with %s', (family, changes, code, message) => {
    const error = errorOf(() => describeArchitecture(changedConfig(family, changes), 'some/config.json'));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect((error as Error).message).toMatch(/^some\/config\.json: /);
  });
});

function errorOf(body: () => unknown): FltacError | undefined {
  try {
    body();
  } catch (error) {
    if (error instanceof FltacError) return error;
    throw error;
  }
  return undefined;
}
