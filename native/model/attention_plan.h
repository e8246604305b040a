// How the sequences of a batch are laid out for attention by tensor operations: made once a batch, for all
// its layers and their backward passes.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "model/attention.h"
#include "model/masks.h"

namespace fltac {

// Sequences of like length, padded to [sequences, queries] and [sequences, keys].
class AttentionChunk {
 public:
  // The sequences of these numbers.
  AttentionChunk(const AttentionShape& shape, std::vector<size_t> sequences, const at::Device& device);

  int64_t sequences() const { return static_cast<int64_t>(numbers_.size()); }
  int64_t scores_size() const { return sequences() * heads_ * queries_ * keys_; }

  // Rows [n, heads d] as [sequences, heads, queries, d].
  at::Tensor pad_queries(const at::Tensor& x) const;
  // The same with zeros in the padding, for gradients that are summed over queries.
  at::Tensor pad_gradients(const at::Tensor& x) const;
  // Keys or values, repeated for the query heads that share them: [sequences, heads, keys, d].
  at::Tensor pad_keys(const at::Tensor& x) const;
  // Row sums [rows, heads] as [sequences, heads, queries, 1].
  at::Tensor pad_sums(const at::Tensor& sums) const;

  // The reverse of pad_queries into rows of y.
  void write_queries(const at::Tensor& padded, const at::Tensor& y) const;
  // The reverse of pad_keys: heads that share keys add up.
  void write_keys(const at::Tensor& padded, const at::Tensor& y) const;

  // [sequences, heads, queries, keys], without the keys that a query does not see.
  at::Tensor scores(const at::Tensor& q, const at::Tensor& k) const;

  // Keeps the mask of the keys that are not seen for all calls of `scores`, if it has at most `most` values;
  // gives how many it keeps.
  int64_t keep_hidden(int64_t most);

  // The dropout of the scores. The blocks are kept from the first call on: the plan's keys name the sequences
  // of the batch, whatever the layer.
  at::Tensor masks(const kernels::DropoutPlan& plan) const;

 private:
  struct Lists;
  Lists list(const AttentionShape& shape) const;
  at::Tensor pad(const at::Tensor& x, const at::Tensor& index, int64_t length, int64_t heads) const;
  at::Tensor hidden() const;

  std::vector<size_t> numbers_;
  std::vector<int64_t> query_counts_, key_counts_;  // by sequence of the chunk
  int64_t heads_, kv_heads_, head_dim_;
  at::Device device_;
  int64_t queries_ = 1, keys_ = 1;
  at::Tensor query_index_, key_index_;                            // rows for each padded place
  at::Tensor query_places_, query_rows_, key_places_, key_rows_;  // the real places, and their rows
  at::Tensor real_;          // [sequences, 1, queries, 1]: 0 in the padding; undefined where there is none
  at::Tensor first_, last_;  // keys that a query sees, [sequences, queries, 1]; undefined where it sees all
  at::Tensor hidden_;        // [sequences, 1, queries, keys] of bool; undefined where it is made when wanted
  mutable std::optional<MaskBlocks> blocks_;
};

// Scores that are held at a time (256 MiB).
constexpr int64_t kChunkScores = int64_t{1} << 26;

class AttentionPlan {
 public:
  // Chunks of at most `most` scores, unless one sequence alone has more.
  AttentionPlan(const AttentionShape& shape, const at::Device& device, int64_t most = kChunkScores);
  const std::vector<AttentionChunk>& chunks() const { return chunks_; }

 private:
  std::vector<AttentionChunk> chunks_;
};

}  // namespace fltac
