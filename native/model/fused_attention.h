// Attention without dropout on CUDA devices, by libtorch's kernels for packed sequences: no padding, and no
// tensor of scores.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/ops.h"

namespace fltac {

// What the choice depends on besides the shape.
struct FusedConditions {
  bool dropout;        // masks of the scores are ours, drawn by counters: no kernel of libtorch's has them
  bool tape;           // whether backward will follow
  bool cuda;           // the kernels exist for CUDA devices only
  int64_t capability;  // the first number of the device's compute capability
};

// Whether every sequence's queries follow those of the one before, the first at row 0, its keys likewise, and
// none is empty; and, where it is causal, each query's own key is at its own place: whole prompts, not a part
// of their tokens, nor tokens that continue a cache.
bool lies_packed(const AttentionShape& shape);

// Flash for weights of half precision on devices of capability 8.0 and more: queries, keys and values are
// rounded to the weights' type, as the products' inputs are, and in backward the gradients too, which are too
// small for float16: with it flash is for forward alone. Efficient, in float32, for everything else without a
// window. None for the rest. The sequences must lie packed, too: BatchTables::lengths tells.
FusedKernel fused_kernel(const AttentionShape& shape, const FusedConditions& conditions);
// `tape`: whether backward will follow.
FusedKernel fused_kernel(const AttentionShape& shape, const kernels::DropoutPlan& plan, bool tape,
                         const at::Device& device);

// As Ops::attention and its backward, by `kernel`, which forward keeps in the tape. tape.log_sum, where it
// was defined, becomes the kernel's own, in its own layout.
void fused_attention(FusedKernel kernel, const AttentionShape& shape, const PackedLengths& lengths,
                     const AttentionInput& input, AttentionTape& tape);
void fused_attention_backward(const AttentionShape& shape, const PackedLengths& lengths,
                              const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                              const AttentionInput& gradient);

}  // namespace fltac
