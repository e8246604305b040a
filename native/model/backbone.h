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
#include "model/placement.h"
#include "model/weight_type.h"
#include "train/control.h"

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

// What comes before the first norm, tables in the weights' type. Undefined where the family has none.
struct EmbeddingWeights {
  at::Tensor words;      // [vocab, hidden]
  at::Tensor positions;  // [positions, hidden]
  at::Tensor types;      // [types, hidden]
  at::Tensor special;    // [special tokens, hidden], images only
  Linear patches;        // patch values (channel, row, column) -> hidden
};

// Modules of a classification head as the files hold them, float32 on the CPU: adapters begin as copies of
// them. Undefined where they hold none.
struct HeadWeights {
  at::Tensor dense_weight, dense_bias;  // [hidden, hidden] and [hidden]
  at::Tensor out_weight, out_bias;      // [labels, hidden] and [labels]
};

struct LoadOptions {
  // The name of a device for each part (layers + 2); none: on the CUDA devices that plan_placement chooses,
  // and where there are none on the CPU.
  std::vector<std::string> devices;
  std::string dtype = "auto";  // as choose_weight_type's
  bool tf32 = false;           // WeightForm::tf32
};

class Backbone {
 public:
  // Loads a folder with config.json and model.safetensors (or its index and shards), part by part: besides
  // the weights it holds one part's at a time. Progress is in parts. Throws Io, Format, Unsupported,
  // MissingWeight, Shape, Usage, Aborted; messages name the file and the tensor.
  static std::shared_ptr<const Backbone> load(const std::filesystem::path& folder, const LoadOptions& options,
                                              const Control& control);

  const Architecture& architecture() const { return architecture_; }
  // Where it was loaded from.
  const std::string& folder() const { return folder_; }
  // Tensors of the files that the architecture does not use.
  const std::vector<std::string>& unused() const { return unused_; }
  const Placement& placement() const { return placement_; }
  const WeightType& weight_type() const { return weight_type_; }
  // Bytes of each part's weights as they are held.
  const std::vector<int64_t>& part_bytes() const { return part_bytes_; }
  int64_t bytes() const;

  EmbeddingWeights embeddings;
  // As Architecture::norms(), each on the device where it is applied: the first with the embedding, numbers 2
  // l + 1 and 2 l + 2 with layer l.
  std::vector<Norm> norms;
  std::vector<LayerWeights> layers;
  Linear pooler;
  Linear language_head;  // hidden -> vocab
  HeadWeights head;

 private:
  friend class BackboneLoader;
  Backbone() = default;

  std::string folder_;
  Architecture architecture_;
  Placement placement_;
  WeightType weight_type_;
  std::vector<int64_t> part_bytes_;
  std::vector<std::string> unused_;
};

}  // namespace fltac
