// Attention over packed sequences by tensor operations: sequences of a chunk are padded to its longest.
#pragma once

#include "model/attention_plan.h"
#include "model/ops.h"

namespace fltac {

void tensor_attention(const AttentionPlan& chunks, const kernels::DropoutPlan& plan,
                      const AttentionInput& input, const AttentionTape& tape);

// Probabilities and masks are computed again.
void tensor_attention_backward(const AttentionPlan& chunks, double scale, const kernels::DropoutPlan& plan,
                               const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                               const AttentionInput& gradient);

}  // namespace fltac
