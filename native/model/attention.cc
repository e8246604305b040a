#include "model/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "core/blas.h"
#include "core/clones.h"
#include "model/small_product.h"

namespace fltac {
namespace {

// A causal head is computed in blocks of this many queries, each with the keys that its queries see.
constexpr int64_t kBlock = 64;

// Rows of scores lie this many values apart, or a multiple of it, so that their loops have no remainder.
constexpr int64_t kStep = 16;

// Fewer queries are not worth laying out keys and values for.
constexpr int64_t kFewQueries = 8;

constexpr float kUnseen = -1e30f;  // a score whose probability is 0

int64_t padded(int64_t n) { return (n + kStep - 1) / kStep * kStep; }

// One head of one sequence.
struct Task {
  SequenceRows rows;
  int64_t head;
  int64_t column, kv_column;  // of the head in a row of queries; in a row of keys and values
  bool first, last;           // of the heads that share keys and values
  RowKey mask;
};

// Queries [begin, end) and keys [first_key, last_key) of a task.
struct Block {
  int64_t begin, end;
  int64_t first_key, last_key;
  int64_t queries() const { return end - begin; }
  int64_t keys() const { return last_key - first_key; }
  int64_t stride() const { return padded(keys()); }  // of its rows of scores
};

struct KeyRange {
  int64_t begin, end;
};

// The keys that query i of a task sees.
KeyRange seen(const AttentionShape& shape, const Task& t, int64_t i) {
  if (!shape.own_key) return {0, t.rows.keys};
  const int64_t end = int64_t{shape.own_key[t.rows.first_query + i]} + 1;
  return {shape.window > 0 ? std::max<int64_t>(0, end - shape.window) : 0, end};
}

Block block_at(const AttentionShape& shape, const Task& t, int64_t begin) {
  const int64_t end = shape.own_key ? std::min(t.rows.queries, begin + kBlock) : t.rows.queries;
  return {begin, end, seen(shape, t, begin).begin, seen(shape, t, end - 1).end};
}

Task task_at(const AttentionShape& shape, const kernels::DropoutPlan& plan, size_t sequence, int64_t head) {
  const int64_t group = shape.heads / shape.kv_heads;
  RowKey mask{0, 0};
  if (plan.rate.active()) {
    mask = {plan.rows[sequence].stream,
            plan.rows[sequence].row * static_cast<uint32_t>(shape.heads) + static_cast<uint32_t>(head)};
  }
  return {shape.sequences[sequence],
          head,
          head * shape.head_dim,
          head / group * shape.head_dim,
          head % group == 0,
          head % group == group - 1,
          mask};
}

const float* at_rows(const HeadRows& rows, int64_t first, int64_t column) {
  return rows.data + first * rows.stride + column;
}
float* at_rows_mut(const HeadRows& rows, int64_t first, int64_t column) {
  return rows.data + first * rows.stride + column;
}

// out [d, rows] = x^T for x [rows, d].
FLTAC_CLONES void transpose_rows(const float* x, int64_t stride, int64_t rows, int64_t d, float* out,
                                 int64_t out_stride) {
  constexpr int64_t kTile = 8;  // both sides of a tile stay in the first cache
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c = 0; c < d; ++c) {
      for (int64_t r = r0; r < r1; ++r) out[c * out_stride + r] = x[r * stride + c];
    }
  }
}

FLTAC_CLONES void mask_all(const uint16_t* words, uint32_t threshold, float scale, int64_t n, float* x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] = words[i] >= threshold ? x[i] * scale : 0.0f;
}

FLTAC_CLONES float dot(const float* a, const float* b, int64_t n) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += a[i] * b[i];
  return total;
}

// dS = scale * P (dP - delta)
FLTAC_CLONES void score_gradient(const float* p, int64_t n, float delta, float scale, float* dp) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dp[i] = scale * p[i] * (dp[i] - delta);
}

// The columns of a head from some rows, laid out for products: as they are, or transposed [d, rows], with
// columns of zeros up to a whole step after any row.
class Packed {
 public:
  void copy(const HeadRows& from, int64_t first, int64_t column, int64_t rows, int64_t d) {
    stride_ = d;
    values_.resize(static_cast<size_t>(rows * d));
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(at_rows(from, first + r, column), d, values_.data() + r * d);
    }
  }

  void transpose(const HeadRows& from, int64_t first, int64_t column, int64_t rows, int64_t d) {
    stride_ = padded(rows) + kStep;
    values_.resize(static_cast<size_t>(d * stride_));
    for (int64_t c = 0; c < d; ++c) {
      std::fill(values_.data() + c * stride_ + rows, values_.data() + (c + 1) * stride_, 0.0f);
    }
    transpose_rows(at_rows(from, first, column), from.stride, rows, d, values_.data(), stride_);
  }

  // From row `row` on, or transposed from that column on.
  RowMatrix rows(int64_t row) const { return {values_.data() + row * stride_, stride_}; }
  RowMatrix columns(int64_t column) const { return {values_.data() + column, stride_}; }

 private:
  std::vector<float> values_;
  int64_t stride_ = 0;
};

// out [b.queries, b.stride] = x K^T, with x the rows of the block's queries and K those of its keys;
// `transposed` holds K^T of the whole task where there are enough queries. Columns beyond the block's keys
// mean nothing.
void times_keys(const Block& b, const HeadRows& x, int64_t first_x, int64_t x_column, const HeadRows& keys,
                int64_t first_key, int64_t key_column, int64_t d, const Packed* transposed, float* out) {
  const float* from = at_rows(x, first_x, x_column);
  if (transposed) {
    small_product({b.queries(), b.stride(), d}, {from, x.stride, 1}, transposed->columns(b.first_key), false,
                  out, b.stride());
  } else {
    gemm(false, true, b.queries(), b.keys(), d, 1.0f, from, x.stride, at_rows(keys, first_key, key_column),
         keys.stride, 0.0f, out, b.stride());
  }
}

// Row i of a block's scores, over the keys that its query sees, to e^(scale score - offset(row, n)); 0
// elsewhere. Gives the sum.
template <typename Offset>
float exponentials(const AttentionShape& shape, const Task& t, const Block& b, int64_t i, float scale,
                   const Offset& offset, float* row) {
  const KeyRange range = seen(shape, t, b.begin + i);
  float* x = row + (range.begin - b.first_key);
  float* const end = row + b.stride();
  const int64_t n = range.end - range.begin;
  const int64_t whole = std::min<int64_t>(padded(n), end - x);
  std::fill(x + n, x + whole, kUnseen);
  const float total = kernels::exp_row(x, whole, scale, offset(x, whole));
  std::fill(row, x, 0.0f);
  std::fill(x + n, end, 0.0f);
  return total;
}

// The masks of a task's probabilities, drawn at once as [queries, keys].
class Masks {
 public:
  void draw(const Task& t, const kernels::DropoutPlan& plan) {
    active_ = plan.rate.active();
    if (!active_) return;
    rate_ = plan.rate;
    keys_ = t.rows.keys;
    const int64_t n = t.rows.queries * keys_;
    words_.resize(static_cast<size_t>(padded_words(n) + kStep));
    philox_words(t.mask, plan.step, plan.site, n, words_.data());
  }

  bool active() const { return active_; }

  // x [block queries, block stride]; what lies beyond the keys is masked by words of the next row, to no
  // effect.
  void apply(const Block& b, float* x) const {
    if (!active_) return;
    for (int64_t i = 0; i < b.queries(); ++i) {
      mask_all(words_.data() + (b.begin + i) * keys_ + b.first_key, rate_.threshold, rate_.scale, b.stride(),
               x + i * b.stride());
    }
  }

 private:
  bool active_ = false;
  Dropout rate_{0.0};
  int64_t keys_ = 0;
  std::vector<uint16_t> words_;
};

// Runs body(task, scratch) for every head of every sequence; heads that share keys and values run one after
// another on one thread.
template <typename Body>
void for_tasks(const AttentionShape& shape, const kernels::DropoutPlan& plan, const Body& body) {
  const auto sequences = static_cast<int64_t>(shape.sequences.size());
  const int64_t group = shape.heads / shape.kv_heads;
  at::parallel_for(0, sequences * shape.kv_heads, 1, [&](int64_t begin, int64_t end) {
    typename Body::Scratch scratch;
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t h = 0; h < group; ++h) {
        body(task_at(shape, plan, static_cast<size_t>(i / shape.kv_heads), i % shape.kv_heads * group + h),
             scratch);
      }
    }
  });
}

struct Forward {
  struct Scratch {
    std::vector<float> scores;
    Packed keys, values;
    Masks masks;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out;
  float* log_sum;

  void operator()(const Task& t, Scratch& scratch) const {
    scratch.masks.draw(t, plan);
    const bool lay_out = t.rows.queries >= kFewQueries;
    if (lay_out) {
      scratch.keys.transpose(k, t.rows.first_key, t.kv_column, t.rows.keys, shape.head_dim);
      scratch.values.copy(v, t.rows.first_key, t.kv_column, t.rows.keys, shape.head_dim);
    }
    for (int64_t begin = 0; begin < t.rows.queries;) {
      const Block b = block_at(shape, t, begin);
      run(t, b, lay_out, scratch);
      begin = b.end;
    }
  }

  void run(const Task& t, const Block& b, bool laid_out, Scratch& scratch) const {
    const int64_t d = shape.head_dim, query = t.rows.first_query + b.begin;
    const int64_t key = t.rows.first_key + b.first_key;
    scratch.scores.resize(static_cast<size_t>(b.queries() * b.stride()));
    float* s = scratch.scores.data();
    times_keys(b, q, query, t.column, k, key, t.kv_column, d, laid_out ? &scratch.keys : nullptr, s);
    for (int64_t i = 0; i < b.queries(); ++i) softmax(t, b, i, s + i * b.stride());
    scratch.masks.apply(b, s);
    const RowMatrix values =
        laid_out ? scratch.values.rows(b.first_key) : RowMatrix{at_rows(v, key, t.kv_column), v.stride};
    small_product({b.queries(), d, b.keys()}, {s, b.stride(), 1}, values, false,
                  at_rows_mut(out, query, t.column), out.stride);
  }

  void softmax(const Task& t, const Block& b, int64_t i, float* row) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    float top = 0.0f;
    const auto largest = [&](const float* x, int64_t n) { return top = kernels::max_row(x, n) * scale; };
    const float total = exponentials(shape, t, b, i, scale, largest, row);
    kernels::scale_row(row, b.stride(), 1.0f / total);
    if (log_sum) log_sum[(t.rows.first_query + b.begin + i) * shape.heads + t.head] = top + std::log(total);
  }
};

struct Backward {
  struct Scratch {
    std::vector<float> p, dropped, dp;
    Packed keys, keys_across, values_across, queries, douts;
    Masks masks;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out, dout;
  const float* log_sum;
  HeadRows dq, dk, dv;

  void operator()(const Task& t, Scratch& scratch) const {
    scratch.masks.draw(t, plan);
    const bool lay_out = t.rows.queries >= kFewQueries;
    if (lay_out) {
      const int64_t d = shape.head_dim, key = t.rows.first_key, keys = t.rows.keys;
      scratch.keys.copy(k, key, t.kv_column, keys, d);
      scratch.keys_across.transpose(k, key, t.kv_column, keys, d);
      scratch.values_across.transpose(v, key, t.kv_column, keys, d);
      scratch.queries.copy(q, t.rows.first_query, t.column, t.rows.queries, d);
      scratch.douts.copy(dout, t.rows.first_query, t.column, t.rows.queries, d);
    }
    // Several heads or blocks add up in dk and dv; one alone writes.
    const bool alone = t.first && t.last && is_one_block(t);
    if (t.first && !alone) clear(t);
    for (int64_t begin = 0; begin < t.rows.queries;) {
      const Block b = block_at(shape, t, begin);
      run(t, b, !alone, lay_out, scratch);
      begin = b.end;
    }
  }

  bool is_one_block(const Task& t) const {
    if (t.rows.queries == 0) return false;
    const Block b = block_at(shape, t, 0);
    return b.end == t.rows.queries && b.keys() == t.rows.keys;
  }

  void clear(const Task& t) const {
    for (int64_t r = t.rows.first_key; r < t.rows.first_key + t.rows.keys; ++r) {
      std::fill_n(at_rows_mut(dk, r, t.kv_column), shape.head_dim, 0.0f);
      std::fill_n(at_rows_mut(dv, r, t.kv_column), shape.head_dim, 0.0f);
    }
  }

  // O = D(P) V with D the dropout, so dP = D(dO V^T) and the softmax's row term sum(P dP) is dO . O.
  void run(const Task& t, const Block& b, bool add, bool laid_out, Scratch& scratch) const {
    const int64_t d = shape.head_dim, lq = b.queries(), lk = b.keys(), stride = b.stride();
    const int64_t query = t.rows.first_query + b.begin, key = t.rows.first_key + b.first_key;
    const auto n = static_cast<size_t>(lq * stride);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    scratch.p.resize(n);
    scratch.dp.resize(n);
    float* p = scratch.p.data();
    float* dp = scratch.dp.data();
    times_keys(b, q, query, t.column, k, key, t.kv_column, d, laid_out ? &scratch.keys_across : nullptr, p);
    for (int64_t i = 0; i < lq; ++i) probabilities(t, b, i, scale, p + i * stride);
    times_keys(b, dout, query, t.column, v, key, t.kv_column, d, laid_out ? &scratch.values_across : nullptr,
               dp);
    const float* weights = p;
    if (scratch.masks.active()) {
      scratch.dropped.assign(p, p + n);
      scratch.masks.apply(b, scratch.dropped.data());
      scratch.masks.apply(b, dp);
      weights = scratch.dropped.data();
    }
    const RowMatrix keys = laid_out ? scratch.keys.rows(b.first_key) : rows_of(k, key, t.kv_column);
    const RowMatrix queries = laid_out ? scratch.queries.rows(b.begin) : rows_of(q, query, t.column);
    const RowMatrix douts = laid_out ? scratch.douts.rows(b.begin) : rows_of(dout, query, t.column);
    small_product({lk, d, lq}, {weights, 1, stride}, douts, add, at_rows_mut(dv, key, t.kv_column),
                  dv.stride);
    for (int64_t i = 0; i < lq; ++i) {
      const float delta = dot(douts.data + i * douts.stride, at_rows(out, query + i, t.column), d);
      score_gradient(p + i * stride, lk, delta, scale, dp + i * stride);
    }
    small_product({lq, d, lk}, {dp, stride, 1}, keys, false, at_rows_mut(dq, query, t.column), dq.stride);
    small_product({lk, d, lq}, {dp, 1, stride}, queries, add, at_rows_mut(dk, key, t.kv_column), dk.stride);
  }

  static RowMatrix rows_of(const HeadRows& rows, int64_t first, int64_t column) {
    return {at_rows(rows, first, column), rows.stride};
  }

  // From the scores of row i of a block.
  void probabilities(const Task& t, const Block& b, int64_t i, float scale, float* row) const {
    const float kept = log_sum[(t.rows.first_query + b.begin + i) * shape.heads + t.head];
    exponentials(shape, t, b, i, scale, [&](const float*, int64_t) { return kept; }, row);
  }
};

}  // namespace

void attention_forward(const AttentionShape& shape, const kernels::DropoutPlan& plan, HeadRows q, HeadRows k,
                       HeadRows v, HeadRows out, float* log_sum) {
  for_tasks(shape, plan, Forward{shape, plan, q, k, v, out, log_sum});
}

void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan, HeadRows q, HeadRows k,
                        HeadRows v, HeadRows out, HeadRows dout, const float* log_sum, HeadRows dq,
                        HeadRows dk, HeadRows dv) {
  for_tasks(shape, plan, Backward{shape, plan, q, k, v, out, dout, log_sum, dq, dk, dv});
}

}  // namespace fltac
