// What all parts of one pass over a batch share: options, dropout plans, LoRA at a layer's modules.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lora/lora.h"
#include "model/attention.h"
#include "model/batch.h"
#include "model/kernels.h"
#include "model/kv_cache.h"
#include "model/ops.h"
#include "model/rotary.h"

namespace fltac {

struct PassOptions {
  bool dropout = false;    // the backbone's and LoRA's
  bool gradients = false;  // keep what backward needs
  uint32_t step = 0;       // names the dropout masks, with each job's stream
  // Where adapters are read; null: from the bank.
  const AdapterView* adapters = nullptr;
  // Where the batch's sequences continue (PackedBatch::places) and its keys and values are kept; without
  // gradients.
  KeyValueCache* cache = nullptr;
  // Keep only what each layer reads, and compute the layer again for backward: the same bits in less memory.
  bool checkpointing = false;
};

// Where dropout masks are drawn. A layer's sites are layer_site(layer) + one of the second group; LoRA's add
// the role.
enum Site : uint32_t { kEmbedding = 1, kHeadOut = 2, kHeadDense = 3 };
enum LayerSite : uint32_t { kAttention = 0, kAttentionOut = 1, kMlpOut = 2, kLora = 8 };

// Float32 memory on the device of `like`.
inline at::Tensor buffer(int64_t rows, int64_t columns, const at::Tensor& like) {
  return at::empty({rows, columns}, like.options());
}

class PassContext {
 public:
  // Bank and batch must outlive the context.
  PassContext(const AdapterBank& adapters, const PackedBatch& packed, PassOptions settings);
  PassContext(const PassContext&) = delete;
  PassContext& operator=(const PassContext&) = delete;

  bool is_last(int64_t layer) const { return layer == architecture.layers - 1; }
  bool keeps_tape(int64_t layer) const { return options.gradients && layer >= first_adapted; }
  // Rows of a layer's query side. In the last layer only what the loss is over: nothing else reaches it.
  const RowSpace& query_space(int64_t layer) const { return is_last(layer) ? batch.outputs : batch.tokens; }
  // Tokens that the loss is over, as an index on a device.
  const at::Tensor& output_index(const at::Device& device) const {
    return tables_.index(batch.output_rows, device);
  }
  // The dropout mask of an activation [rows, n], on its device.
  at::Tensor row_mask(const kernels::DropoutPlan& plan, const at::Tensor& x) const {
    return tables_.row_masks(plan.rows, x.size(0), x.size(1), x.device()).draw(plan, x.sizes());
  }
  // What computes a layer, and what computes the head.
  const Ops& ops(int64_t layer) const;
  const Ops& embedding_ops() const;
  const Ops& output_ops() const;
  const AdapterView& adapters() const { return options.adapters ? *options.adapters : bank_view_; }
  // Places of those rows in their sequences, for rotary positions and causal masks.
  std::span<const int32_t> query_positions(int64_t layer) const;
  // Where each sequence's queries and keys lie.
  const std::vector<SequenceRows>& sequence_rows(int64_t layer) const {
    return is_last(layer) ? last_rows_ : rows_;
  }
  // The attention of a layer: who sees whom, and its dropout.
  AttentionShape attention_shape(int64_t layer) const;
  kernels::DropoutPlan attention_dropout(int64_t layer) const;
  kernels::DropoutPlan plan(double rate, uint32_t site, const RowSpace& space) const;
  kernels::DropoutPlan layer_plan(double rate, int64_t layer, uint32_t site, const RowSpace& space) const;

  const AdapterBank& bank;
  const PackedBatch& batch;
  const PassOptions options;
  const Backbone& backbone;
  const Architecture& architecture;
  const int64_t first_adapted;  // below it nothing is trained and no gradient is needed
  const OutputTargets targets;  // of the batch's outputs
  std::optional<RotaryTable> rotary;

 private:
  const Ops& ops_on(const Device& device) const { return device.is_cpu() ? cpu_ops() : *tensor_ops_; }

  AdapterView bank_view_;
  mutable BatchTables tables_;  // made as they are asked for
  std::unique_ptr<Ops> tensor_ops_;
  std::vector<int32_t> output_positions_;
  std::vector<SequenceRows> rows_, last_rows_;
};

// LoRA at the modules of one layer, and what its backward reads.
class LayerLora {
 public:
  LayerLora(const PassContext& pass, int64_t layer) : pass_(pass), layer_(layer) {}

  bool has(Role role) const { return pass_.bank.layout().slot(layer_, role).has_value(); }
  // y += scaling B A dropout(x); y may be columns of a wider buffer.
  void add(Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& y);
  // Gradients to the sink; adds the input's gradient to dx where it is defined.
  void take(Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx,
            GradientSink& sink) const;

 private:
  LoraProduct product(Role role, const LoraSlot& slot, const RowSpace& space, int64_t inputs,
                      int64_t outputs) const;

  const PassContext& pass_;
  int64_t layer_;
  std::array<at::Tensor, kRoles.size()> z_;  // inner product [rows, rank] by role
};

}  // namespace fltac
