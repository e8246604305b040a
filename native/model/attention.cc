#include "model/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "core/blas.h"
#include "core/clones.h"

namespace fltac {
namespace {

// One (sequence, head): sizes and where its rows start.
struct Task {
  int64_t queries, keys;  // rows
  int64_t first_query, first_key;
  int64_t column;  // of the head in a row
  int64_t head;
  RowKey mask;
};

Task task_at(const AttentionShape& shape, const kernels::DropoutPlan& plan, int64_t index) {
  const int64_t s = index / shape.heads, h = index % shape.heads;
  const auto& qo = *shape.query_offsets;
  const auto& ko = *shape.key_offsets;
  const auto i = static_cast<size_t>(s);
  RowKey mask{0, 0};
  if (plan.rate.active()) {
    mask = {plan.rows[s].stream,
            plan.rows[s].row * static_cast<uint32_t>(shape.heads) + static_cast<uint32_t>(h)};
  }
  return {qo[i + 1] - qo[i], ko[i + 1] - ko[i], qo[i], ko[i], h * shape.head_dim, h, mask};
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

FLTAC_CLONES void scale_row(float* x, int64_t n, float factor) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

// dS = scale * P (dP - delta)
FLTAC_CLONES void score_gradient(const float* p, int64_t n, float delta, float scale, float* dp) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dp[i] = scale * p[i] * (dp[i] - delta);
}

void draw(const Task& t, const kernels::DropoutPlan& plan, std::vector<uint16_t>& words) {
  const int64_t n = t.queries * t.keys;
  words.resize(static_cast<size_t>(padded_words(n)));
  philox_words(t.mask, plan.step, plan.site, n, words.data());
}

// Runs body(task, scratch index) for every (sequence, head), threads taking tasks as they become free.
template <typename Body>
void for_tasks(const AttentionShape& shape, const kernels::DropoutPlan& plan, const Body& body) {
  at::parallel_for(0, shape.sequences() * shape.heads, 1, [&](int64_t begin, int64_t end) {
    typename Body::Scratch scratch;
    for (int64_t i = begin; i < end; ++i) body(task_at(shape, plan, i), scratch);
  });
}

struct Forward {
  struct Scratch {
    std::vector<float> scores;
    std::vector<uint16_t> words;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out;
  float* log_sum;

  void operator()(const Task& t, Scratch& scratch) const {
    const int64_t d = shape.head_dim, lq = t.queries, lk = t.keys;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    scratch.scores.resize(static_cast<size_t>(lq * lk));
    float* s = scratch.scores.data();
    gemm(false, true, lq, lk, d, 1.0f, at_rows(q, t.first_query, t.column), q.stride,
         at_rows(k, t.first_key, t.column), k.stride, 0.0f, s, lk);
    for (int64_t i = 0; i < lq; ++i) {
      const float top = kernels::max_row(s + i * lk, lk) * scale;
      const float total = kernels::exp_row(s + i * lk, lk, scale, top);
      scale_row(s + i * lk, lk, 1.0f / total);
      if (log_sum) log_sum[(t.first_query + i) * shape.heads + t.head] = top + std::log(total);
    }
    if (plan.rate.active()) {
      draw(t, plan, scratch.words);
      mask_all(scratch.words.data(), plan.rate.threshold, plan.rate.scale, lq * lk, s);
    }
    gemm(false, false, lq, d, lk, 1.0f, s, lk, at_rows(v, t.first_key, t.column), v.stride, 0.0f,
         at_rows_mut(out, t.first_query, t.column), out.stride);
  }
};

struct Backward {
  struct Scratch {
    std::vector<float> p, dropped, dp;
    std::vector<uint16_t> words;
  };
  const AttentionShape& shape;
  const kernels::DropoutPlan& plan;
  HeadRows q, k, v, out, dout;
  const float* log_sum;
  HeadRows dq, dk, dv;

  // O = D(P) V with D the dropout, so dP = D(dO V^T) and the softmax's row term sum(P dP) is dO . O.
  void operator()(const Task& t, Scratch& scratch) const {
    const int64_t d = shape.head_dim, lq = t.queries, lk = t.keys;
    const auto n = static_cast<size_t>(lq * lk);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    scratch.p.resize(n);
    scratch.dp.resize(n);
    float* p = scratch.p.data();
    float* dp = scratch.dp.data();
    const float* qs = at_rows(q, t.first_query, t.column);
    const float* ks = at_rows(k, t.first_key, t.column);
    const float* g = at_rows(dout, t.first_query, t.column);
    gemm(false, true, lq, lk, d, 1.0f, qs, q.stride, ks, k.stride, 0.0f, p, lk);
    for (int64_t i = 0; i < lq; ++i) {
      kernels::exp_row(p + i * lk, lk, scale, log_sum[(t.first_query + i) * shape.heads + t.head]);
    }
    gemm(false, true, lq, lk, d, 1.0f, g, dout.stride, at_rows(v, t.first_key, t.column), v.stride, 0.0f, dp,
         lk);
    const float* weights = p;
    if (plan.rate.active()) {
      draw(t, plan, scratch.words);
      scratch.dropped.assign(p, p + n);
      mask_all(scratch.words.data(), plan.rate.threshold, plan.rate.scale, lq * lk, scratch.dropped.data());
      mask_all(scratch.words.data(), plan.rate.threshold, plan.rate.scale, lq * lk, dp);
      weights = scratch.dropped.data();
    }
    gemm(true, false, lk, d, lq, 1.0f, weights, lk, g, dout.stride, 0.0f,
         at_rows_mut(dv, t.first_key, t.column), dv.stride);
    for (int64_t i = 0; i < lq; ++i) {
      const float delta = dot(g + i * dout.stride, at_rows(out, t.first_query + i, t.column), d);
      score_gradient(p + i * lk, lk, delta, scale, dp + i * lk);
    }
    gemm(false, false, lq, d, lk, 1.0f, dp, lk, ks, k.stride, 0.0f, at_rows_mut(dq, t.first_query, t.column),
         dq.stride);
    gemm(true, false, lk, d, lq, 1.0f, dp, lk, qs, q.stride, 0.0f, at_rows_mut(dk, t.first_key, t.column),
         dk.stride);
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
