// What tensor operations need to know of one batch, on the devices that compute it: each table is made and
// uploaded when it is first asked for and kept for all layers, forward and backward.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "lora/job_groups.h"
#include "model/attention_plan.h"
#include "model/masks.h"
#include "model/rotary.h"

namespace fltac {

// The labels that the loss of a batch is over, and by what each output's gradient is divided: the outputs of
// its job.
struct OutputTargets {
  std::vector<int32_t> labels;
  std::vector<double> counts;
};

// Where packed sequences begin, for kernels that take them without padding: int32 [sequences + 1].
struct PackedLengths {
  bool packed = false;  // lies_packed (model/fused_attention.h); where it is false the rest is not made
  at::Tensor query_offsets, key_offsets;
  int64_t longest_queries = 0, longest_keys = 0;
};

// A frozen module of the classification head, the same for every job.
struct FrozenModule {
  at::Tensor weight;  // [1, outputs, inputs]
  at::Tensor bias;    // [1, 1, outputs]
};

// Things of a batch are told apart by where they lie: they must outlive the tables and stay in their places.
// For one thread.
class BatchTables {
 public:
  const JobGroups& groups(const RowSpace& space, const AdapterView& adapters, const at::Device& device);
  const AttentionPlan& attention(const AttentionShape& shape, const at::Device& device);
  const PackedLengths& lengths(const AttentionShape& shape, const at::Device& device);
  // Of an activation [rows, n], by the keys of its rows.
  const MaskBlocks& row_masks(const RowKey* keys, int64_t rows, int64_t n, const at::Device& device);
  // Cosines and sines, as RotaryTable::rows.
  const std::pair<at::Tensor, at::Tensor>& rotary(const RotaryTable& table,
                                                  std::span<const int32_t> positions,
                                                  const at::Device& device);
  // A module of the bank's frozen head. Throws Usage where no initialise has made it.
  const FrozenModule& frozen(const AdapterBank& bank, const HeadSlot& slot, const at::Device& device);
  // int64 rows as an index.
  const at::Tensor& index(const std::vector<int64_t>& rows, const at::Device& device);

  struct Targets {
    at::Tensor labels;  // int64 [outputs]
    at::Tensor counts;  // float64 [outputs]
  };
  const Targets& targets(const OutputTargets& targets, const at::Device& device);

 private:
  // Where a thing lies, a number that tells two uses of it apart, and a device.
  using Key = std::tuple<const void*, int64_t, std::string>;
  template <typename Value>
  using Table = std::map<Key, Value>;

  Table<JobGroups> groups_;
  Table<AttentionPlan> attention_;
  Table<PackedLengths> lengths_;
  Table<MaskBlocks> masks_;
  Table<std::pair<at::Tensor, at::Tensor>> rotary_;
  Table<FrozenModule> frozen_;
  Table<at::Tensor> indices_;
  Table<Targets> targets_;
};

}  // namespace fltac
