#include "model/batch_tables.h"

#include <algorithm>

#include "core/transfer.h"
#include "model/fused_attention.h"

namespace fltac {
namespace {

// The value under a key, made where there is none.
template <typename Table, typename Make>
auto& find_or_make(Table& table, const void* thing, int64_t number, const at::Device& device,
                   const Make& make) {
  const typename Table::key_type key{thing, number, device.str()};
  const auto found = table.find(key);
  return found != table.end() ? found->second : table.emplace(key, make()).first->second;
}

}  // namespace

const JobGroups& BatchTables::groups(const RowSpace& space, const AdapterView& adapters,
                                     const at::Device& device) {
  return find_or_make(groups_, &space, 0, device, [&] { return JobGroups(space, adapters, device); });
}

const AttentionPlan& BatchTables::attention(const AttentionShape& shape, const at::Device& device) {
  return find_or_make(attention_, &shape.sequences, shape.window, device,
                      [&] { return AttentionPlan(shape, device); });
}

const PackedLengths& BatchTables::lengths(const AttentionShape& shape, const at::Device& device) {
  return find_or_make(lengths_, &shape.sequences, 0, device, [&] {
    PackedLengths lengths;
    lengths.packed = lies_packed(shape);
    if (!lengths.packed) return lengths;
    std::vector<int64_t> queries{0}, keys{0};
    for (const SequenceRows& at : shape.sequences) {
      queries.push_back(queries.back() + at.queries);
      keys.push_back(keys.back() + at.keys);
      lengths.longest_queries = std::max(lengths.longest_queries, at.queries);
      lengths.longest_keys = std::max(lengths.longest_keys, at.keys);
    }
    const std::vector<at::Tensor> lists = upload_lists({queries, keys}, device);
    lengths.query_offsets = lists[0].to(at::kInt);
    lengths.key_offsets = lists[1].to(at::kInt);
    return lengths;
  });
}

const MaskBlocks& BatchTables::row_masks(const RowKey* keys, int64_t rows, int64_t n,
                                         const at::Device& device) {
  return find_or_make(masks_, keys, n, device, [&] { return MaskBlocks::of_rows(keys, rows, n, device); });
}

const std::pair<at::Tensor, at::Tensor>& BatchTables::rotary(const RotaryTable& table,
                                                             std::span<const int32_t> positions,
                                                             const at::Device& device) {
  return find_or_make(rotary_, positions.data(), 0, device, [&] { return table.rows(positions, device); });
}

const FrozenModule& BatchTables::frozen(const AdapterBank& bank, const HeadSlot& slot,
                                        const at::Device& device) {
  return find_or_make(frozen_, &slot, 0, device, [&] {
    const auto values = [&](const float* from, at::IntArrayRef shape) {
      return upload(at::from_blob(const_cast<float*>(from), shape, at::kFloat), device);
    };
    // A frozen head is that of any row.
    return FrozenModule{values(bank.head_weight(0, slot), {1, slot.outputs, slot.inputs}),
                        values(bank.head_bias(0, slot), {1, 1, slot.outputs})};
  });
}

const at::Tensor& BatchTables::index(const std::vector<int64_t>& rows, const at::Device& device) {
  return find_or_make(indices_, &rows, 0, device, [&] { return upload_lists({rows}, device).front(); });
}

const BatchTables::Targets& BatchTables::targets(const OutputTargets& targets, const at::Device& device) {
  return find_or_make(targets_, &targets, 0, device, [&] {
    const auto n = static_cast<int64_t>(targets.labels.size());
    const at::Tensor labels =
        at::from_blob(const_cast<int32_t*>(targets.labels.data()), {n}, at::kInt).to(at::kLong);
    const at::Tensor counts =
        at::from_blob(const_cast<double*>(targets.counts.data()), {n}, at::kDouble).clone();
    return Targets{upload(labels, device), upload(counts, device)};
  });
}

}  // namespace fltac
