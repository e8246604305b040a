#include "model/tensor_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/masks.h"

namespace fltac {
namespace {

// Scores that are held at a time (256 MiB).
constexpr int64_t kChunkScores = int64_t{1} << 26;

at::Tensor upload(const std::vector<int64_t>& values, at::IntArrayRef shape, const at::Device& device) {
  return at::from_blob(const_cast<int64_t*>(values.data()), shape, at::kLong).clone().to(device);
}

// Neighbouring sequences padded to [sequences, queries] and [sequences, keys].
class Chunk {
 public:
  Chunk(const AttentionShape& shape, size_t begin, size_t end, const at::Device& device)
      : shape_(shape), begin_(begin), end_(end), device_(device) {
    for (size_t s = begin; s < end; ++s) {
      queries_ = std::max(queries_, shape.sequences[s].queries);
      keys_ = std::max(keys_, shape.sequences[s].keys);
    }
    std::vector<int64_t> query_index, key_index, places, rows, padded_keys, key_rows, first, last;
    for (size_t s = begin; s < end; ++s) {
      const SequenceRows& at = shape.sequences[s];
      const auto n = static_cast<int64_t>(s - begin);
      for (int64_t i = 0; i < queries_; ++i) {
        const bool real = i < at.queries;
        // Padding repeats a row of the sequence: its results are never read.
        const int64_t row = at.first_query + std::min(i, std::max<int64_t>(0, at.queries - 1));
        query_index.push_back(at.queries > 0 ? row : 0);
        const int64_t own = shape.own_key && real ? shape.own_key[row] : at.keys - 1;
        last.push_back(own);
        first.push_back(
            shape.own_key && real && shape.window > 0 ? std::max<int64_t>(0, own - shape.window + 1) : 0);
        if (!real) continue;
        places.push_back(n * queries_ + i);
        rows.push_back(row);
      }
      for (int64_t j = 0; j < keys_; ++j) {
        key_index.push_back(at.first_key + std::min(j, at.keys - 1));
        if (j >= at.keys) continue;
        padded_keys.push_back(n * keys_ + j);
        key_rows.push_back(at.first_key + j);
      }
    }
    const auto count = [](const std::vector<int64_t>& v) { return static_cast<int64_t>(v.size()); };
    query_index_ = upload(query_index, {count(query_index)}, device);
    key_index_ = upload(key_index, {count(key_index)}, device);
    std::vector<int64_t> real(static_cast<size_t>(sequences() * queries_), 0);
    for (const int64_t place : places) real[static_cast<size_t>(place)] = 1;
    real_ = upload(real, {sequences(), 1, queries_, 1}, device).to(at::kFloat);
    query_places_ = upload(places, {count(places)}, device);
    query_rows_ = upload(rows, {count(rows)}, device);
    key_places_ = upload(padded_keys, {count(padded_keys)}, device);
    key_rows_ = upload(key_rows, {count(key_rows)}, device);
    const at::Tensor place = at::arange(keys_, at::TensorOptions(at::kLong).device(device));
    const at::Tensor from = upload(first, {sequences(), queries_, 1}, device);
    const at::Tensor to = upload(last, {sequences(), queries_, 1}, device);
    hidden_ = place.lt(from).logical_or(place.gt(to)).unsqueeze(1);
  }

  int64_t sequences() const { return static_cast<int64_t>(end_ - begin_); }

  // Rows [n, heads d] as [sequences, heads, queries, d].
  at::Tensor pad_queries(const at::Tensor& x) const { return pad(x, query_index_, queries_, shape_.heads); }
  // The same with zeros in the padding, for gradients that are summed over queries.
  at::Tensor pad_gradients(const at::Tensor& x) const { return pad_queries(x) * real_; }
  // Keys or values, repeated for the query heads that share them.
  at::Tensor pad_keys(const at::Tensor& x) const {
    const at::Tensor own = pad(x, key_index_, keys_, shape_.kv_heads);
    const int64_t group = shape_.heads / shape_.kv_heads;
    return group == 1 ? own : own.repeat_interleave(group, 1);
  }

  // The reverse of pad_queries into rows of y.
  void write_queries(const at::Tensor& padded, const at::Tensor& y) const {
    write(padded.transpose(1, 2), query_places_, query_rows_, y);
  }
  // The reverse of pad_keys: heads that share keys add up.
  void write_keys(const at::Tensor& padded, const at::Tensor& y) const {
    const int64_t group = shape_.heads / shape_.kv_heads;
    const at::Tensor own = group == 1 ? padded : padded.unflatten(1, {shape_.kv_heads, group}).sum(2);
    write(own.transpose(1, 2), key_places_, key_rows_, y);
  }

  // [sequences, heads, queries, keys], without the keys that a query does not see.
  at::Tensor scores(const at::Tensor& q, const at::Tensor& k) const {
    const double scale = 1.0 / std::sqrt(static_cast<double>(shape_.head_dim));
    return q.matmul(k.transpose(2, 3))
        .mul_(scale)
        .masked_fill_(hidden_, -std::numeric_limits<float>::infinity());
  }

  // Row sums [rows, heads] as [sequences, heads, queries, 1].
  at::Tensor pad_sums(const at::Tensor& sums) const {
    return sums.index_select(0, query_index_)
        .view({sequences(), queries_, shape_.heads})
        .transpose(1, 2)
        .unsqueeze(3);
  }

  at::Tensor masks(const kernels::DropoutPlan& plan) const {
    std::vector<MaskBlock> blocks;
    for (size_t s = begin_; s < end_; ++s) {
      for (int64_t h = 0; h < shape_.heads; ++h) {
        const RowKey key{plan.rows[s].stream,
                         plan.rows[s].row * static_cast<uint32_t>(shape_.heads) + static_cast<uint32_t>(h)};
        const auto block = static_cast<int64_t>(s - begin_) * shape_.heads + h;
        blocks.push_back(
            {key, shape_.sequences[s].queries, shape_.sequences[s].keys, block * queries_ * keys_, keys_});
      }
    }
    return draw_masks(blocks, plan, {sequences(), shape_.heads, queries_, keys_}, device_);
  }

 private:
  at::Tensor pad(const at::Tensor& x, const at::Tensor& index, int64_t length, int64_t heads) const {
    return x.index_select(0, index).view({sequences(), length, heads, shape_.head_dim}).transpose(1, 2);
  }

  void write(const at::Tensor& padded, const at::Tensor& places, const at::Tensor& rows,
             const at::Tensor& y) const {
    const at::Tensor flat = padded.reshape({padded.size(0) * padded.size(1), -1});
    at::Tensor out = y;
    out.index_copy_(0, rows, flat.index_select(0, places));
  }

  const AttentionShape& shape_;
  size_t begin_, end_;
  at::Device device_;
  int64_t queries_ = 1, keys_ = 1;
  at::Tensor query_index_, key_index_;                            // rows for each padded place
  at::Tensor query_places_, query_rows_, key_places_, key_rows_;  // the real places, and their rows
  at::Tensor real_;    // [sequences, 1, queries, 1]: 0 in the padding
  at::Tensor hidden_;  // [sequences, 1, queries, keys]
};

// Calls body(chunk) for chunks of neighbouring sequences whose scores stay within kChunkScores where one
// alone does.
template <typename Body>
void for_chunks(const AttentionShape& shape, const at::Device& device, const Body& body) {
  const size_t n = shape.sequences.size();
  for (size_t begin = 0; begin < n;) {
    int64_t queries = 1, keys = 1;
    size_t end = begin;
    while (end < n) {
      const int64_t q = std::max(queries, shape.sequences[end].queries),
                    k = std::max(keys, shape.sequences[end].keys);
      if (end > begin && static_cast<int64_t>(end - begin + 1) * shape.heads * q * k > kChunkScores) break;
      queries = q;
      keys = k;
      ++end;
    }
    body(Chunk(shape, begin, end, device));
    begin = end;
  }
}

}  // namespace

void tensor_attention(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                      const AttentionInput& input, const AttentionTape& tape) {
  for_chunks(shape, input.q.device(), [&](const Chunk& chunk) {
    const at::Tensor scores = chunk.scores(chunk.pad_queries(input.q), chunk.pad_keys(input.k));
    const at::Tensor log_sum = scores.logsumexp(3, true);
    at::Tensor weights = (scores - log_sum).exp_();
    if (plan.rate.active()) weights = weights * chunk.masks(plan);
    chunk.write_queries(weights.matmul(chunk.pad_keys(input.v)), tape.out);
    if (tape.log_sum.defined()) chunk.write_queries(log_sum, tape.log_sum);
  });
}

// O = D(P) V with D the dropout, so dP = D(dO V^T) and the softmax's row term sum(P dP) is dO . O.
void tensor_attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                               const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                               const AttentionInput& gradient) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  for_chunks(shape, input.q.device(), [&](const Chunk& chunk) {
    const at::Tensor q = chunk.pad_queries(input.q), k = chunk.pad_keys(input.k);
    const at::Tensor g = chunk.pad_gradients(dout);
    const at::Tensor p = (chunk.scores(q, k) - chunk.pad_sums(tape.log_sum)).exp_();
    at::Tensor dp = g.matmul(chunk.pad_keys(input.v).transpose(2, 3));
    at::Tensor weights = p;
    if (plan.rate.active()) {
      const at::Tensor masks = chunk.masks(plan);
      weights = p * masks;
      dp = dp * masks;
    }
    const at::Tensor delta = (g * chunk.pad_queries(tape.out)).sum(3, true);
    const at::Tensor ds = p.mul(dp.sub_(delta)).mul_(scale);
    chunk.write_queries(ds.matmul(k), gradient.q);
    chunk.write_keys(ds.transpose(2, 3).matmul(q), gradient.k);
    chunk.write_keys(weights.transpose(2, 3).matmul(g), gradient.v);
  });
}

}  // namespace fltac
