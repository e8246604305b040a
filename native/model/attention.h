// Scaled dot-product attention over packed sequences (CPU): no padding, no [heads, T, T] tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "model/kernels.h"

namespace fltac {

// Rows of a [rows, stride] buffer starting at `data`; head h is the columns [h d, (h + 1) d).
struct HeadRows {
  float* data;
  int64_t stride;
};

struct AttentionShape {
  int64_t heads;
  int64_t head_dim;
  // sequence s: queries query_offsets[s]..[s + 1], keys and values key_offsets[s]..[s + 1]
  const std::vector<int64_t>* query_offsets;
  const std::vector<int64_t>* key_offsets;
  int64_t sequences() const { return static_cast<int64_t>(key_offsets->size()) - 1; }
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
