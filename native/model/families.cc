#include "model/families.h"

namespace fltac {
namespace {

constexpr BiasRule kAlways{true}, kNever{false};

constexpr ConfigKeys kBertKeys{
    .hidden = "hidden_size",
    .layers = "num_hidden_layers",
    .heads = "num_attention_heads",
    .intermediate = "intermediate_size",
    .activation = "hidden_act",
    .norm_eps = "layer_norm_eps",
    .hidden_dropout = "hidden_dropout_prob",
    .attention_dropout = "attention_probs_dropout_prob",
    .head_dropout = "classifier_dropout",
};

constexpr ConfigKeys kVitKeys{
    .hidden = "hidden_size",
    .layers = "num_hidden_layers",
    .heads = "num_attention_heads",
    .intermediate = "intermediate_size",
    .activation = "hidden_act",
    .norm_eps = "layer_norm_eps",
    .hidden_dropout = "hidden_dropout_prob",
    .attention_dropout = "attention_probs_dropout_prob",
    .head_dropout = nullptr,
};

constexpr ConfigKeys kLlamaKeys{
    .hidden = "hidden_size",
    .layers = "num_hidden_layers",
    .heads = "num_attention_heads",
    .intermediate = "intermediate_size",
    .activation = "hidden_act",
    .norm_eps = "rms_norm_eps",
    .hidden_dropout = nullptr,
    .attention_dropout = "attention_dropout",
    .head_dropout = nullptr,
};

constexpr Family kBert{
    .model_type = "bert",
    .prefix = "bert.",
    .input = Input::Tokens,
    .output = Output::Classes,
    .norm = NormKind::Layer,
    .norm_place = NormPlace::Post,
    .positions = Positions::Learned,
    .window = Window::None,
    .activation = "gelu",
    .modules = {{{"encoder.layer.{}.attention.self.query"},
                 {"encoder.layer.{}.attention.self.key"},
                 {"encoder.layer.{}.attention.self.value"},
                 {"encoder.layer.{}.attention.output.dense"},
                 {"encoder.layer.{}.intermediate.dense"},
                 {"encoder.layer.{}.output.dense"},
                 {}}},
    .qkv_bias = kAlways,
    .attention_out_bias = kAlways,
    .mlp_bias = kAlways,
    .attention_out_dropout = true,
    .embedding_norm = "embeddings.LayerNorm",
    .attention_norm = {"encoder.layer.{}.attention.output.LayerNorm"},
    .mlp_norm = {"encoder.layer.{}.output.LayerNorm"},
    .final_norm = nullptr,
    .word_embeddings = "embeddings.word_embeddings.weight",
    .position_embeddings = "embeddings.position_embeddings.weight",
    .type_embeddings = "embeddings.token_type_embeddings.weight",
    .patch_embedding = nullptr,
    .special_embeddings = {},
    .head = {.pooler = "pooler.dense", .out = {"classifier"}},
    .keys = kBertKeys,
    .defaults = {.norm_eps = 1e-12, .dropout = 0.1, .head_dropout = -1, .positions = 0, .kv_heads = 0},
};

// RobertaForSequenceClassification has no pooler: its head is two trained layers.
constexpr Family roberta() {
  Family row = kBert;
  row.model_type = "roberta";
  row.prefix = "roberta.";
  row.positions = Positions::LearnedAfterPadding;
  row.head = {.dense = {"classifier", "dense"},
              .dense_squash = Squash::Tanh,
              .dropout_before_dense = true,
              .out = {"classifier", "out_proj"}};
  return row;
}

constexpr Family kDistilBert{
    .model_type = "distilbert",
    .prefix = "distilbert.",
    .input = Input::Tokens,
    .output = Output::Classes,
    .norm = NormKind::Layer,
    .norm_place = NormPlace::Post,
    .positions = Positions::Learned,
    .window = Window::None,
    .activation = "gelu",
    .modules = {{{"transformer.layer.{}.attention.q_lin"},
                 {"transformer.layer.{}.attention.k_lin"},
                 {"transformer.layer.{}.attention.v_lin"},
                 {"transformer.layer.{}.attention.out_lin"},
                 {"transformer.layer.{}.ffn.lin1"},
                 {"transformer.layer.{}.ffn.lin2"},
                 {}}},
    .qkv_bias = kAlways,
    .attention_out_bias = kAlways,
    .mlp_bias = kAlways,
    .attention_out_dropout = false,
    .embedding_norm = "embeddings.LayerNorm",
    .attention_norm = {"transformer.layer.{}.sa_layer_norm"},
    .mlp_norm = {"transformer.layer.{}.output_layer_norm"},
    .final_norm = nullptr,
    .word_embeddings = "embeddings.word_embeddings.weight",
    .position_embeddings = "embeddings.position_embeddings.weight",
    .type_embeddings = nullptr,
    .patch_embedding = nullptr,
    .special_embeddings = {},
    .head = {.dense = {"pre_classifier"}, .dense_squash = Squash::Relu, .out = {"classifier"}},
    .keys = {.hidden = "dim",
             .layers = "n_layers",
             .heads = "n_heads",
             .intermediate = "hidden_dim",
             .activation = "activation",
             .norm_eps = nullptr,
             .hidden_dropout = "dropout",
             .attention_dropout = "attention_dropout",
             .head_dropout = "seq_classif_dropout"},
    .defaults = {.norm_eps = 1e-12, .dropout = 0.1, .head_dropout = 0.2, .positions = 0, .kv_heads = 0},
};

// Names as in transformers 4 and in published checkpoints; transformers 5 has others for the layers.
constexpr Family kVit{
    .model_type = "vit",
    .prefix = "vit.",
    .input = Input::Images,
    .output = Output::Classes,
    .norm = NormKind::Layer,
    .norm_place = NormPlace::Pre,
    .positions = Positions::Learned,
    .window = Window::None,
    .activation = "gelu",
    .modules = {{{"encoder.layer.{}.attention.attention.query", "layers.{}.attention.q_proj"},
                 {"encoder.layer.{}.attention.attention.key", "layers.{}.attention.k_proj"},
                 {"encoder.layer.{}.attention.attention.value", "layers.{}.attention.v_proj"},
                 {"encoder.layer.{}.attention.output.dense", "layers.{}.attention.o_proj"},
                 {"encoder.layer.{}.intermediate.dense", "layers.{}.mlp.fc1"},
                 {"encoder.layer.{}.output.dense", "layers.{}.mlp.fc2"},
                 {}}},
    .qkv_bias = {true, "qkv_bias"},
    .attention_out_bias = kAlways,
    .mlp_bias = kAlways,
    .attention_out_dropout = true,
    .embedding_norm = nullptr,
    .attention_norm = {"encoder.layer.{}.layernorm_before", "layers.{}.layernorm_before"},
    .mlp_norm = {"encoder.layer.{}.layernorm_after", "layers.{}.layernorm_after"},
    .final_norm = "layernorm",
    .word_embeddings = nullptr,
    .position_embeddings = "embeddings.position_embeddings",
    .type_embeddings = nullptr,
    .patch_embedding = "embeddings.patch_embeddings.projection",
    .special_embeddings = {"embeddings.cls_token"},
    .head = {.out = {"classifier"}},
    .keys = kVitKeys,
    .defaults = {.norm_eps = 1e-12, .dropout = 0, .head_dropout = 0, .positions = 0, .kv_heads = 0},
};

constexpr Family deit() {
  Family row = kVit;
  row.model_type = "deit";
  row.prefix = "deit.";
  row.special_embeddings = {"embeddings.cls_token", "embeddings.distillation_token"};
  return row;
}

constexpr Family kLlama{
    .model_type = "llama",
    .prefix = "model.",
    .input = Input::Tokens,
    .output = Output::NextToken,
    .norm = NormKind::Rms,
    .norm_place = NormPlace::Pre,
    .positions = Positions::Rotary,
    .window = Window::None,
    .activation = "silu",
    .modules = {{{"layers.{}.self_attn.q_proj"},
                 {"layers.{}.self_attn.k_proj"},
                 {"layers.{}.self_attn.v_proj"},
                 {"layers.{}.self_attn.o_proj"},
                 {"layers.{}.mlp.up_proj"},
                 {"layers.{}.mlp.down_proj"},
                 {"layers.{}.mlp.gate_proj"}}},
    .qkv_bias = {false, "attention_bias"},
    .attention_out_bias = {false, "attention_bias"},
    .mlp_bias = {false, "mlp_bias"},
    .attention_out_dropout = true,
    .embedding_norm = nullptr,
    .attention_norm = {"layers.{}.input_layernorm"},
    .mlp_norm = {"layers.{}.post_attention_layernorm"},
    .final_norm = "norm",
    .word_embeddings = "embed_tokens.weight",
    .position_embeddings = nullptr,
    .type_embeddings = nullptr,
    .patch_embedding = nullptr,
    .special_embeddings = {},
    .head = {.language = "lm_head"},
    .keys = kLlamaKeys,
    .defaults = {.norm_eps = 1e-6, .dropout = 0, .head_dropout = 0, .positions = 2048, .kv_heads = 0},
};

constexpr Family mistral() {
  Family row = kLlama;
  row.model_type = "mistral";
  row.window = Window::All;
  row.qkv_bias = row.attention_out_bias = row.mlp_bias = kNever;
  row.defaults.positions = 131'072;
  row.defaults.kv_heads = 8;
  return row;
}

constexpr Family qwen2() {
  Family row = kLlama;
  row.model_type = "qwen2";
  row.window = Window::Upper;
  row.qkv_bias = kAlways;
  row.attention_out_bias = row.mlp_bias = kNever;
  row.defaults.positions = 32'768;
  row.defaults.kv_heads = 32;
  return row;
}

constexpr Family kFamilies[] = {kBert, roberta(), kDistilBert, kVit, deit(), kLlama, mistral(), qwen2()};

}  // namespace

std::span<const Family> families() { return kFamilies; }

}  // namespace fltac
