// A frozen backbone: its architecture and its weights in the form that the forward pass reads.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/linear.h"

namespace fltac {

struct Norm {
  at::Tensor gain;
  at::Tensor shift;
};

struct LayerWeights {
  // Query, key and value as one product, outputs [3 hidden]; in the last layer, where few rows ask, as two.
  Linear qkv;
  Linear query, key_value;
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
  // Bytes of the weights as they are held.
  int64_t bytes() const;

  at::Tensor word_embeddings, position_embeddings, type_embeddings;
  Norm embedding_norm;
  std::vector<LayerWeights> layers;
  Linear pooler;

  // A classification head that the files hold: [labels, hidden] and [labels]; undefined where they hold none.
  const at::Tensor& head_weight() const { return head_weight_; }
  const at::Tensor& head_bias() const { return head_bias_; }

 private:
  Backbone() = default;

  Architecture architecture_;
  at::Tensor head_weight_, head_bias_;
  std::vector<std::string> unused_;
};

}  // namespace fltac
