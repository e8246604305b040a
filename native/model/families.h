// The architecture table: what a model family's config.json means, which tensors its files hold, and which
// linear modules LoRA can be put on. A new family is a row of families.cc and its golden test.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace fltac {

// The linear modules of a transformer layer, in the order of Family::modules.
enum class Role : uint8_t { Query, Key, Value, AttentionOut, MlpIn, MlpOut, MlpGate };
constexpr std::array<Role, 7> kRoles{Role::Query, Role::Key,    Role::Value,  Role::AttentionOut,
                                     Role::MlpIn, Role::MlpOut, Role::MlpGate};

enum class Input : uint8_t { Tokens, Images };
enum class Output : uint8_t { Classes, NextToken };  // NextToken models see only earlier tokens
enum class NormKind : uint8_t { Layer, Rms };
enum class NormPlace : uint8_t { Post, Pre };  // after a block's residual sum, or before the block
// LearnedAfterPadding: fairseq's numbering, from the padding id + 1 on, in which padding takes no position.
enum class Positions : uint8_t { Learned, LearnedAfterPadding, Rotary };
// Which layers see a sliding window: none; all where "sliding_window" is set; where "use_sliding_window" is,
// those from "max_window_layers" on.
enum class Window : uint8_t { None, All, Upper };
enum class Squash : uint8_t { Tanh, Relu };

// A module's path; "{}" stands for the layer's number. `also`: its path in other versions of transformers.
struct ModuleName {
  const char* name = nullptr;
  const char* also = nullptr;
};

// Whether a kind of linear module has biases; `key`: the option of config.json that says otherwise.
struct BiasRule {
  bool usual;
  const char* key = nullptr;
};

// config.json's keys; null where the family has no such option.
struct ConfigKeys {
  const char* hidden;
  const char* layers;
  const char* heads;
  const char* intermediate;
  const char* activation;
  const char* norm_eps;
  const char* hidden_dropout;
  const char* attention_dropout;
  const char* head_dropout;
};

// What transformers' configuration class takes where config.json is silent.
struct ConfigDefaults {
  double norm_eps;
  double dropout;       // hidden and attention
  double head_dropout;  // negative: as the hidden dropout
  int64_t positions;    // 0: the key is required
  int64_t kv_heads;     // 0: as many as heads
};

// A linear module of a classification head. PEFT wraps the whole module `saved` (modules_to_save); `inner` is
// the path below it.
struct HeadModule {
  const char* saved = nullptr;
  const char* inner = nullptr;

  // Within the model, e.g. "classifier.out_proj".
  std::string path() const { return inner ? std::string(saved) + "." + inner : saved; }
};

// What follows the last norm.
//   classes: [pooler, tanh], [dropout], [dense, squash], dropout, out
//   next token: language
struct HeadRow {
  const char* pooler = nullptr;  // frozen, part of the backbone
  HeadModule dense = {};
  Squash dense_squash = Squash::Tanh;
  bool dropout_before_dense = false;
  HeadModule out = {};
  const char* language = nullptr;
};

// A row of the table.
struct Family {
  const char* model_type;
  // What transformers puts before the backbone's names in a model with a head; files may have it or not.
  const char* prefix;
  Input input;
  Output output;
  NormKind norm;
  NormPlace norm_place;
  Positions positions;
  Window window;
  const char* activation;             // its name in config.json; MLPs with a gate use SiLU, others GELU
  std::array<ModuleName, 7> modules;  // by Role; MlpGate only in gated MLPs: activation(gate) x in
  BiasRule qkv_bias, attention_out_bias, mlp_bias;
  bool attention_out_dropout;  // whether the hidden dropout follows the attention too
  const char* embedding_norm;  // Post
  ModuleName attention_norm;   // Post: after the attention; Pre: before it
  ModuleName mlp_norm;         // likewise
  const char* final_norm;      // Pre
  const char* word_embeddings;
  const char* position_embeddings;
  const char* type_embeddings;
  const char* patch_embedding;                    // images: a convolution whose stride is its kernel
  std::array<const char*, 2> special_embeddings;  // images: tokens before the patches
  HeadRow head;
  ConfigKeys keys;
  ConfigDefaults defaults;
};

std::span<const Family> families();

}  // namespace fltac
