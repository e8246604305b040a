// Scaled dot-product attention over packed sequences (CPU): no padding, no [heads, T, T] tensor.
#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "model/kernels.h"

namespace fltac {

// Rows of a [rows, stride] buffer starting at `data`; head h is the columns [h d, (h + 1) d).
struct HeadRows {
  float* data;
  int64_t stride;
};

// Where one sequence's queries, and its keys and values, lie among the rows.
struct SequenceRows {
  int64_t first_query, queries;
  int64_t first_key, keys;
};

struct AttentionShape {
  int64_t heads;
  int64_t kv_heads;  // query heads share keys and values in groups of heads / kv_heads
  int64_t head_dim;
  const std::vector<SequenceRows>& sequences;
  // Causal: the key of each query row's own token, counted from its sequence's first key and rising within
  // the sequence; it sees that key and those before. Null: all queries see all keys of their sequence.
  const int32_t* own_key = nullptr;
  int64_t window = 0;  // causal: keys a query sees, its own included; 0: all
  // Of the weights' products; the CPU's kernels and tensor operations compute in float32 whatever it is.
  at::ScalarType products = at::kFloat;
};

// out = dropout(softmax(q k^T / sqrt(d))) v. log_sum [query rows, heads] is kept for backward; may be null.
// The dropout plan's rows are keys of sequences; its row index is multiplied by the number of heads here.
void attention_forward(const AttentionShape& shape, const kernels::DropoutPlan& plan, HeadRows q, HeadRows k,
                       HeadRows v, HeadRows out, float* log_sum);

// From d(out) to dq, dk, dv (written, not added). Probabilities and masks are computed again.
void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan, HeadRows q, HeadRows k,
                        HeadRows v, HeadRows out, HeadRows dout, const float* log_sum, HeadRows dq,
                        HeadRows dk, HeadRows dv);

}  // namespace fltac
