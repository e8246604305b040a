#include "model/attention_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/transfer.h"

namespace fltac {
namespace {

// Below this many scores a chunk costs its launches, not its padding: sequences of any length share it.
constexpr int64_t kSmallChunkScores = int64_t{1} << 20;
// Values of all chunks' masks of hidden keys that are worth keeping for all layers (16 MiB).
constexpr int64_t kKeptHidden = int64_t{1} << 24;

// The sequences' numbers, in chunks of like length, longest first: within `most` scores where one sequence
// alone is, and, unless the chunk is small, each with at least half the keys of its chunk's longest.
std::vector<std::vector<size_t>> chunks_of(const AttentionShape& shape, int64_t most) {
  std::vector<size_t> order(shape.sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return shape.sequences[a].keys > shape.sequences[b].keys; });
  std::vector<std::vector<size_t>> chunks;
  int64_t queries = 1, keys = 1;
  for (const size_t s : order) {
    const SequenceRows& at = shape.sequences[s];
    if (!chunks.empty()) {
      const auto count = static_cast<int64_t>(chunks.back().size());
      const int64_t q = std::max(queries, at.queries);
      const bool too_large = (count + 1) * shape.heads * q * keys > most;
      const bool too_short = 2 * at.keys < keys && count * shape.heads * queries * keys > kSmallChunkScores;
      if (!too_large && !too_short) {
        queries = q;
        chunks.back().push_back(s);
        continue;
      }
    }
    queries = std::max<int64_t>(1, at.queries);
    keys = std::max<int64_t>(1, at.keys);
    chunks.push_back({s});
  }
  return chunks;
}

void write(const at::Tensor& padded, const at::Tensor& places, const at::Tensor& rows, const at::Tensor& y) {
  const at::Tensor flat = padded.reshape({padded.size(0) * padded.size(1), -1});
  at::Tensor out = y;
  out.index_copy_(0, rows, flat.index_select(0, places));
}

}  // namespace

struct AttentionChunk::Lists {
  std::vector<int64_t> query_index, query_places, query_rows, key_index, key_places, key_rows;
  std::vector<int64_t> real, first, last;  // of each padded query
  bool padded = false;                     // whether any query is padding
  bool hides = false;                      // whether any query does not see all keys
};

AttentionChunk::AttentionChunk(const AttentionShape& shape, std::vector<size_t> sequences,
                               const at::Device& device)
    : numbers_(std::move(sequences)),
      heads_(shape.heads),
      kv_heads_(shape.kv_heads),
      head_dim_(shape.head_dim),
      device_(device) {
  for (const size_t s : numbers_) {
    query_counts_.push_back(shape.sequences[s].queries);
    key_counts_.push_back(shape.sequences[s].keys);
    queries_ = std::max(queries_, query_counts_.back());
    keys_ = std::max(keys_, key_counts_.back());
  }
  const Lists lists = list(shape);
  const std::vector<at::Tensor> on_device =
      upload_lists({lists.query_index, lists.query_places, lists.query_rows, lists.key_index,
                    lists.key_places, lists.key_rows, lists.real, lists.first, lists.last},
                   device);
  query_index_ = on_device[0];
  query_places_ = on_device[1];
  query_rows_ = on_device[2];
  key_index_ = on_device[3];
  key_places_ = on_device[4];
  key_rows_ = on_device[5];
  if (lists.padded) real_ = on_device[6].to(at::kFloat).view({this->sequences(), 1, queries_, 1});
  if (!lists.hides) return;
  first_ = on_device[7].view({this->sequences(), queries_, 1});
  last_ = on_device[8].view({this->sequences(), queries_, 1});
}

AttentionChunk::Lists AttentionChunk::list(const AttentionShape& shape) const {
  Lists lists;
  for (size_t n = 0; n < numbers_.size(); ++n) {
    const SequenceRows& at = shape.sequences[numbers_[n]];
    for (int64_t i = 0; i < queries_; ++i) {
      const bool real = i < at.queries;
      // Padding repeats a row of the sequence: its results are never read.
      const int64_t row = at.first_query + std::min(i, std::max<int64_t>(0, at.queries - 1));
      const bool causal = shape.own_key && real;
      const int64_t last = causal ? shape.own_key[row] : at.keys - 1;
      const int64_t first = causal && shape.window > 0 ? std::max<int64_t>(0, last - shape.window + 1) : 0;
      lists.query_index.push_back(at.queries > 0 ? row : 0);
      lists.real.push_back(real ? 1 : 0);
      lists.first.push_back(first);
      lists.last.push_back(last);
      lists.hides = lists.hides || first > 0 || last < keys_ - 1;
      lists.padded = lists.padded || !real;
      if (!real) continue;
      lists.query_places.push_back(static_cast<int64_t>(n) * queries_ + i);
      lists.query_rows.push_back(row);
    }
    for (int64_t j = 0; j < keys_; ++j) {
      lists.key_index.push_back(at.first_key + std::min(j, at.keys - 1));
      if (j >= at.keys) continue;
      lists.key_places.push_back(static_cast<int64_t>(n) * keys_ + j);
      lists.key_rows.push_back(at.first_key + j);
    }
  }
  return lists;
}

at::Tensor AttentionChunk::pad(const at::Tensor& x, const at::Tensor& index, int64_t length,
                               int64_t heads) const {
  return x.index_select(0, index).view({sequences(), length, heads, head_dim_}).transpose(1, 2);
}

at::Tensor AttentionChunk::pad_queries(const at::Tensor& x) const {
  return pad(x, query_index_, queries_, heads_);
}

at::Tensor AttentionChunk::pad_gradients(const at::Tensor& x) const {
  return real_.defined() ? pad_queries(x) * real_ : pad_queries(x);
}

at::Tensor AttentionChunk::pad_keys(const at::Tensor& x) const {
  const at::Tensor own = pad(x, key_index_, keys_, kv_heads_);
  const int64_t group = heads_ / kv_heads_;
  return group == 1 ? own : own.repeat_interleave(group, 1);
}

at::Tensor AttentionChunk::pad_sums(const at::Tensor& sums) const {
  return sums.index_select(0, query_index_)
      .view({sequences(), queries_, heads_})
      .transpose(1, 2)
      .unsqueeze(3);
}

void AttentionChunk::write_queries(const at::Tensor& padded, const at::Tensor& y) const {
  write(padded.transpose(1, 2), query_places_, query_rows_, y);
}

void AttentionChunk::write_keys(const at::Tensor& padded, const at::Tensor& y) const {
  const int64_t group = heads_ / kv_heads_;
  const at::Tensor own = group == 1 ? padded : padded.unflatten(1, {kv_heads_, group}).sum(2);
  write(own.transpose(1, 2), key_places_, key_rows_, y);
}

at::Tensor AttentionChunk::hidden() const {
  if (hidden_.defined()) return hidden_;
  const at::Tensor place = at::arange(keys_, at::TensorOptions(at::kLong).device(device_));
  return place.lt(first_).logical_or_(place.gt(last_)).unsqueeze(1);
}

int64_t AttentionChunk::keep_hidden(int64_t most) {
  const int64_t values = sequences() * queries_ * keys_;
  if (!last_.defined() || values > most) return 0;
  hidden_ = hidden();
  return values;
}

at::Tensor AttentionChunk::scores(const at::Tensor& q, const at::Tensor& k) const {
  const at::Tensor all = q.matmul(k.transpose(2, 3)).mul_(1.0 / std::sqrt(static_cast<double>(head_dim_)));
  return last_.defined() ? all.masked_fill_(hidden(), -std::numeric_limits<float>::infinity()) : all;
}

at::Tensor AttentionChunk::masks(const kernels::DropoutPlan& plan) const {
  if (!blocks_) {
    std::vector<MaskBlock> blocks;
    for (size_t n = 0; n < numbers_.size(); ++n) {
      const RowKey& sequence = plan.rows[numbers_[n]];
      for (int64_t h = 0; h < heads_; ++h) {
        const RowKey key{sequence.stream,
                         sequence.row * static_cast<uint32_t>(heads_) + static_cast<uint32_t>(h)};
        const int64_t block = static_cast<int64_t>(n) * heads_ + h;
        blocks.push_back({key, query_counts_[n], key_counts_[n], block * queries_ * keys_, keys_});
      }
    }
    blocks_.emplace(std::move(blocks), device_);
  }
  return blocks_->draw(plan, {sequences(), heads_, queries_, keys_});
}

AttentionPlan::AttentionPlan(const AttentionShape& shape, const at::Device& device, int64_t most) {
  int64_t room = kKeptHidden;
  for (std::vector<size_t>& sequences : chunks_of(shape, most)) {
    chunks_.emplace_back(shape, std::move(sequences), device);
    room -= chunks_.back().keep_hidden(room);
  }
}

}  // namespace fltac
