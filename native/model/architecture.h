// What one model is, read from its config.json through the table of families (model/families.h): sizes,
// options, and the names and shapes of its tensors.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/families.h"

namespace fltac {

struct TensorShape {
  std::string name;  // with the family's prefix
  std::vector<int64_t> shape;
  std::string also = {};  // its name in other versions of transformers; empty where it has none
};

// Rotary position embedding: the frequency of pair j is theta^(-2 j / head_dim), changed by the scaling.
enum class RotaryScaling : uint8_t { None, Linear, Llama3 };
struct Rotary {
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::None;
  double factor = 1;
  // Llama3 (Llama 3.1): frequencies whose wavelength exceeds positions / low are divided by `factor`, those
  // below positions / high stay, those between go over smoothly.
  double low = 1;
  double high = 4;
  double positions = 8192;
};

// Images as the backbone sees them: `special` tokens, then the patches row by row.
struct ImageGrid {
  int64_t height = 0, width = 0;  // pixels
  int64_t patch_height = 0, patch_width = 0;
  int64_t channels = 3;
  int64_t special = 0;

  int64_t rows() const { return height / patch_height; }
  int64_t columns() const { return width / patch_width; }
  int64_t patches() const { return rows() * columns(); }
  int64_t patch_values() const { return channels * patch_height * patch_width; }
};

struct Architecture {
  const Family* family = nullptr;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // query heads share keys and values in groups of heads / kv_heads
  int64_t head_dim = 0;
  int64_t intermediate = 0;
  int64_t vocab = 0;           // 0 for images
  int64_t positions = 0;       // rows of the position table, or the longest sequence of a rotary model
  int64_t first_position = 0;  // the table's row of a sequence's first token
  int64_t padding_id = -1;     // a token that takes no position; -1: none
  int64_t types = 0;           // 0: no token types
  int64_t window = 0;          // keys a token sees, itself included, in layers from window_from on; 0: all
  int64_t window_from = 0;
  bool qkv_bias = true;
  bool attention_out_bias = true;
  bool mlp_bias = true;
  bool tied_head = false;  // the language-model head is the word embedding
  Rotary rotary;
  ImageGrid image;
  float norm_eps = 0;
  double hidden_dropout = 0;  // after the embedding, the attention and the MLP
  double attention_dropout = 0;
  double head_dropout = 0;
  double initializer_range = 0;

  int64_t query_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  // The longest sequence.
  int64_t max_tokens() const { return positions - first_position; }
  int64_t window_of(int64_t layer) const { return layer >= window_from ? window : 0; }
  bool has(Role role) const { return module_name(role).name != nullptr; }
  bool has_bias(Role role) const;

  const ModuleName& module_name(Role role) const { return family->modules[static_cast<size_t>(role)]; }
  // Module path within the model with a head, e.g. "bert.encoder.layer.0.attention.self.query".
  std::string module(Role role, int64_t layer) const { return name(module_name(role).name, layer); }
  std::string name(const char* pattern, int64_t layer = 0) const;
  // The path and, where another version of transformers has another one, that too.
  std::vector<std::string> names(const ModuleName& module, int64_t layer = 0) const;
  // Outputs and inputs of a module's weight.
  std::array<int64_t, 2> module_shape(Role role) const;
  // The norms in the order in which they are applied: after the embedding, then after each layer's attention
  // and MLP. 2 layers + 1, by all their names.
  std::vector<std::vector<std::string>> norms() const;
  // Every tensor of the backbone, without a head.
  std::vector<TensorShape> tensors() const;
};

// Reads config.json's text, as any version of transformers writes it. `where` names it in errors. Throws
// Format for broken JSON or sizes, Unsupported for a family or option that the table does not have.
Architecture parse_architecture(const std::string& json, const std::string& where);

}  // namespace fltac
