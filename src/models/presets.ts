/** Published shapes of well-known backbones, so that counting parameters and checking limits needs no download. */

/** The part of a `config.json` that decides a model's shapes. */
export interface ModelShape {
  readonly model_type: string;
  readonly hidden_size: number;
  readonly max_position_embeddings?: number;
  readonly [key: string]: string | number | boolean | undefined;
}

const BERT_BASE = {
  model_type: 'bert',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
} as const;

const VIT_BASE = {
  model_type: 'vit',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  image_size: 224,
  patch_size: 16,
  num_channels: 3,
  qkv_bias: true,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
} as const;

const LLAMA_7B = {
  model_type: 'llama',
  vocab_size: 32_000,
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  intermediate_size: 11_008,
  max_position_embeddings: 2048,
  hidden_act: 'silu',
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
} as const;

const PRESETS: Readonly<Record<string, ModelShape>> = {
  'bert-base-uncased': { ...BERT_BASE, vocab_size: 30_522 },
  'bert-base-cased': { ...BERT_BASE, vocab_size: 28_996 },
  'google/vit-base-patch16-224-in21k': VIT_BASE,
  'huggyllama/llama-7b': LLAMA_7B,
  'meta-llama/Llama-2-7b-hf': { ...LLAMA_7B, max_position_embeddings: 4096, rms_norm_eps: 1e-5 },
};

/** The shapes of a model named by its Hub id (with or without its organisation), or undefined where it is not here. */
export function presetShape(modelName: string): ModelShape | undefined {
  const name = modelName.replace(/^google-bert\//, '');
  return Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
}
