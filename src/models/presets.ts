/** Published shapes of well-known backbones, so that counting parameters and checking limits needs no download. */

/** The part of a BERT `config.json` that decides its shapes. */
export interface BertShape {
  model_type: 'bert';
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  max_position_embeddings: number;
  type_vocab_size: number;
  hidden_act: 'gelu';
  hidden_dropout_prob: number;
  attention_probs_dropout_prob: number;
  layer_norm_eps: number;
  pad_token_id: number;
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

const PRESETS: Readonly<Record<string, BertShape>> = {
  'bert-base-uncased': { ...BERT_BASE, vocab_size: 30_522 },
  'bert-base-cased': { ...BERT_BASE, vocab_size: 28_996 },
};

/** The shapes of a model named by its Hub id (with or without its organisation), or undefined where it is not here. */
export function presetShape(modelName: string): BertShape | undefined {
  const name = modelName.replace(/^google-bert\//, '');
  return Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
}
