// A frozen backbone: its architecture and its weights in the form that the forward pass reads.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/kernels.h"
#include "model/linear.h"

namespace fltac {

struct Norm {
  at::Tensor gain;   // [hidden]
  at::Tensor shift;  // [hidden]; undefined for RMSNorm

  kernels::NormWeights weights(float eps) const {
    return {gain.const_data_ptr<float>(), shift.defined() ? shift.const_data_ptr<float>() : nullptr, eps};
  }
};

struct LayerWeights {
  // Query, key and value as one product, outputs [query_width + 2 kv_width]; in the last layer, where few
  // rows ask, as two.
  Linear qkv;
  Linear query, key_value;
  Linear attention_out;
  Linear mlp_in;  // with a gate, gate and input as one product, outputs [2 intermediate]
  Linear mlp_out;
};

// What comes before the first norm. Undefined where the family has none.
struct EmbeddingWeights {
  at::Tensor words;      // [vocab, hidden]
  at::Tensor positions;  // [positions, hidden]
  at::Tensor types;      // [types, hidden]
  at::Tensor special;    // [special tokens, hidden], images only
  Linear patches;        // patch values (channel, row, column) -> hidden
};

// Modules of a classification head as the files hold them; undefined where they hold none.
struct HeadWeights {
  at::Tensor dense_weight, dense_bias;  // [hidden, hidden] and [hidden]
  at::Tensor out_weight, out_bias;      // [labels, hidden] and [labels]
};

class Backbone {
 public:
  // Loads a folder with config.json and model.safetensors (or its index and shards) into float32 memory.
  // Throws Io, Format, Unsupported, MissingWeight, Shape; messages name the file and the tensor.
  static std::shared_ptr<const Backbone> load(const std::filesystem::path& folder);

  const Architecture& architecture() const { return architecture_; }
  // Tensors of the files that the architecture does not use.
  const std::vector<std::string>& unused() const { return unused_; }
  // Bytes of the weights as they are held.
  int64_t bytes() const;

  EmbeddingWeights embeddings;
  std::vector<Norm> norms;  // as Architecture::norms()
  std::vector<LayerWeights> layers;
  Linear pooler;
  Linear language_head;  // hidden -> vocab
  HeadWeights head;

 private:
  Backbone() = default;

  Architecture architecture_;
  std::vector<std::string> unused_;
};

}  // namespace fltac
