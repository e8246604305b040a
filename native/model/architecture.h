// The architecture table: what a model family's config.json means, which tensors its files hold, and which
// linear modules LoRA can be put on. A new family is a row here and its golden test.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fltac {

// The linear modules of a transformer layer, in the order of ModuleNames.
enum class Role : uint8_t { Query, Key, Value, AttentionOut, MlpIn, MlpOut };
constexpr std::array<Role, 6> kRoles{Role::Query,        Role::Key,   Role::Value,
                                     Role::AttentionOut, Role::MlpIn, Role::MlpOut};

// A row of the table. "{}" in a name stands for the layer's number.
struct Family {
  const char* model_type;
  // What transformers puts before the backbone's names in a model with a head; files may have it or not.
  const char* prefix;
  std::array<const char*, 6> modules;  // by Role
  const char* attention_norm;          // after attention and residual
  const char* mlp_norm;                // after MLP and residual
  const char* embedding_norm;
  const char* word_embeddings;
  const char* position_embeddings;
  const char* type_embeddings;
  const char* pooler;
  const char* head;
  // config.json keys of the sizes
  const char* hidden_size;
  const char* num_layers;
  const char* num_heads;
  const char* intermediate_size;
  const char* max_positions;
};

struct TensorShape {
  std::string name;  // with the family's prefix
  std::vector<int64_t> shape;
};

// A family's sizes for one model, read from its config.json.
struct Architecture {
  const Family* family = nullptr;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t intermediate = 0;
  int64_t vocab = 0;
  int64_t positions = 0;
  int64_t types = 0;
  float norm_eps = 0;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double head_dropout = 0;
  double initializer_range = 0;

  int64_t head_dim() const { return hidden / heads; }
  // Module path within the model with a head, e.g. "bert.encoder.layer.0.attention.self.query".
  std::string module(Role role, int64_t layer) const;
  std::string name(const char* pattern, int64_t layer = 0) const;
  // Outputs and inputs of a module's weight.
  std::array<int64_t, 2> module_shape(Role role) const;
  // Every tensor of the backbone, without a head.
  std::vector<TensorShape> tensors() const;
};

// Reads config.json's text. `where` names it in errors. Throws Format for broken JSON or sizes, Unsupported
// for a family or option that the table does not have.
Architecture parse_architecture(const std::string& json, const std::string& where);

}  // namespace fltac
