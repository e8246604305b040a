// A frozen backbone: its architecture and its weights in the form that the forward pass reads.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/architecture.h"

namespace fltac {

// y = x W^T + b; W is [outputs, inputs] as in the files.
struct Linear {
  at::Tensor weight;
  at::Tensor bias;
};

struct Norm {
  at::Tensor gain;
  at::Tensor shift;
};

struct LayerWeights {
  Linear qkv;  // query, key and value as one product: [3 hidden, hidden]
  Linear attention_out;
  Norm attention_norm;
  Linear mlp_in;
  Linear mlp_out;
  Norm mlp_norm;
};

class Backbone {
 public:
  // Loads a folder with config.json and model.safetensors (or its index and shards) into float32 memory.
  // Throws Io, Format, Unsupported, MissingWeight, Shape; messages name the file and the tensor.
  static std::shared_ptr<const Backbone> load(const std::filesystem::path& folder);

  const Architecture& architecture() const { return architecture_; }
  // Tensors of the files that the architecture does not use.
  const std::vector<std::string>& unused() const { return unused_; }
  int64_t bytes() const { return bytes_; }

  at::Tensor word_embeddings, position_embeddings, type_embeddings;
  Norm embedding_norm;
  std::vector<LayerWeights> layers;
  Linear pooler;

  // A classification head that the files hold: [labels, hidden] and [labels]; undefined where they hold none.
  const at::Tensor& head_weight() const { return head_.weight; }
  const at::Tensor& head_bias() const { return head_.bias; }

 private:
  Backbone() = default;

  Architecture architecture_;
  Linear head_;
  std::vector<std::string> unused_;
  int64_t bytes_ = 0;
};

}  // namespace fltac
