#include "model/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "core/blas.h"
#include "core/clones.h"

namespace fltac {
namespace {

// A causal head is computed in blocks of this many queries, each with the keys that its queries see.
constexpr int64_t kBlock = 64;

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

// The masks of a task's probabilities, drawn at once as [queries, keys].
class Masks {
 public:
  void draw(const Task& t, const kernels::DropoutPlan& plan) {
    active_ = plan.rate.active();
    if (!active_) return;
    rate_ = plan.rate;
    keys_ = t.rows.keys;
    const int64_t n = t.rows.queries * keys_;
    words_.resize(static_cast<size_t>(padded_words(n)));
    philox_words(t.mask, plan.step, plan.site, n, words_.data());
  }

  bool active() const { return active_; }

  // x [block queries, block keys]
  void apply(const Block& b, float* x) const {
    if (!active_) return;
    for (int64_t i = 0; i < b.queries(); ++i) {
      mask_all(words_.data() + (b.begin + i) * keys_ + b.first_key, rate_.threshold, rate_.scale, b.keys(),
               x + i * b.keys());
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
    Masks masks;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out;
  float* log_sum;

  void operator()(const Task& t, Scratch& scratch) const {
    scratch.masks.draw(t, plan);
    for (int64_t begin = 0; begin < t.rows.queries;) {
      const Block b = block_at(shape, t, begin);
      run(t, b, scratch);
      begin = b.end;
    }
  }

  void run(const Task& t, const Block& b, Scratch& scratch) const {
    const int64_t d = shape.head_dim, lq = b.queries(), lk = b.keys();
    const int64_t query = t.rows.first_query + b.begin, key = t.rows.first_key + b.first_key;
    scratch.scores.resize(static_cast<size_t>(lq * lk));
    float* s = scratch.scores.data();
    gemm(false, true, lq, lk, d, 1.0f, at_rows(q, query, t.column), q.stride, at_rows(k, key, t.kv_column),
         k.stride, 0.0f, s, lk);
    for (int64_t i = 0; i < lq; ++i) softmax(t, b, i, s + i * lk);
    scratch.masks.apply(b, s);
    gemm(false, false, lq, d, lk, 1.0f, s, lk, at_rows(v, key, t.kv_column), v.stride, 0.0f,
         at_rows_mut(out, query, t.column), out.stride);
  }

  // Of row i of a block, over the keys that its query sees; 0 elsewhere.
  void softmax(const Task& t, const Block& b, int64_t i, float* row) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    const KeyRange range = seen(shape, t, b.begin + i);
    float* x = row + (range.begin - b.first_key);
    const int64_t n = range.end - range.begin;
    const float top = kernels::max_row(x, n) * scale;
    const float total = kernels::exp_row(x, n, scale, top);
    kernels::scale_row(x, n, 1.0f / total);
    std::fill(row, x, 0.0f);
    std::fill(x + n, row + b.keys(), 0.0f);
    if (log_sum) log_sum[(t.rows.first_query + b.begin + i) * shape.heads + t.head] = top + std::log(total);
  }
};

struct Backward {
  struct Scratch {
    std::vector<float> p, dropped, dp;
    Masks masks;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out, dout;
  const float* log_sum;
  HeadRows dq, dk, dv;

  void operator()(const Task& t, Scratch& scratch) const {
    scratch.masks.draw(t, plan);
    // Several heads or blocks add up in dk and dv; one alone writes.
    const bool alone = t.first && t.last && is_one_block(t);
    if (t.first && !alone) clear(t);
    for (int64_t begin = 0; begin < t.rows.queries;) {
      const Block b = block_at(shape, t, begin);
      run(t, b, alone ? 0.0f : 1.0f, scratch);
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
  void run(const Task& t, const Block& b, float keep, Scratch& scratch) const {
    const int64_t d = shape.head_dim, lq = b.queries(), lk = b.keys();
    const int64_t query = t.rows.first_query + b.begin, key = t.rows.first_key + b.first_key;
    const auto n = static_cast<size_t>(lq * lk);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    scratch.p.resize(n);
    scratch.dp.resize(n);
    float* p = scratch.p.data();
    float* dp = scratch.dp.data();
    const float* qs = at_rows(q, query, t.column);
    const float* ks = at_rows(k, key, t.kv_column);
    const float* g = at_rows(dout, query, t.column);
    gemm(false, true, lq, lk, d, 1.0f, qs, q.stride, ks, k.stride, 0.0f, p, lk);
    for (int64_t i = 0; i < lq; ++i) probabilities(t, b, i, scale, p + i * lk);
    gemm(false, true, lq, lk, d, 1.0f, g, dout.stride, at_rows(v, key, t.kv_column), v.stride, 0.0f, dp, lk);
    const float* weights = p;
    if (scratch.masks.active()) {
      scratch.dropped.assign(p, p + n);
      scratch.masks.apply(b, scratch.dropped.data());
      scratch.masks.apply(b, dp);
      weights = scratch.dropped.data();
    }
    gemm(true, false, lk, d, lq, 1.0f, weights, lk, g, dout.stride, keep, at_rows_mut(dv, key, t.kv_column),
         dv.stride);
    for (int64_t i = 0; i < lq; ++i) {
      const float delta = dot(g + i * dout.stride, at_rows(out, query + i, t.column), d);
      score_gradient(p + i * lk, lk, delta, scale, dp + i * lk);
    }
    gemm(false, false, lq, d, lk, 1.0f, dp, lk, ks, k.stride, 0.0f, at_rows_mut(dq, query, t.column),
         dq.stride);
    gemm(true, false, lk, d, lq, 1.0f, dp, lk, qs, q.stride, keep, at_rows_mut(dk, key, t.kv_column),
         dk.stride);
  }

  // From the scores of row i of a block; 0 for keys that its query does not see.
  void probabilities(const Task& t, const Block& b, int64_t i, float scale, float* row) const {
    const KeyRange range = seen(shape, t, b.begin + i);
    float* x = row + (range.begin - b.first_key);
    const int64_t n = range.end - range.begin;
    kernels::exp_row(x, n, scale, log_sum[(t.rows.first_query + b.begin + i) * shape.heads + t.head]);
    std::fill(row, x, 0.0f);
    std::fill(x + n, row + b.keys(), 0.0f);
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
