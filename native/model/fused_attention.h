// Attention without dropout on CUDA devices, by libtorch's kernels for packed sequences: no padding, and no
// tensor of scores.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/ops.h"

namespace fltac {

enum class FusedKernel : uint8_t { None, Flash, Efficient };

// What the choice depends on besides the shape.
struct FusedConditions {
  bool dropout;        // masks of the scores are ours, drawn by counters: no kernel of libtorch's has them
  bool cuda;           // the kernels exist for CUDA devices only
  int64_t capability;  // the first number of the device's compute capability
};

// Whether every sequence's queries follow those of the one before, the first at row 0, its keys likewise, and
// none is empty; and, where it is causal, each query's own key is at its own place: whole prompts, not a part
// of their tokens, nor tokens that continue a cache.
bool lies_packed(const AttentionShape& shape);

// Flash for weights of half precision on devices of capability 8.0 and more: queries, keys and values are
// rounded to the weights' type, as the products' inputs are. Efficient for float32, and for half precision on
// older devices, without a window. None, which means attention by tensor operations, for everything else.
FusedKernel fused_kernel(const AttentionShape& shape, const FusedConditions& conditions);
FusedKernel fused_kernel(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                         const at::Device& device);

// As Ops::attention and its backward. tape.log_sum, where it was defined, becomes the kernel's own, in its
// own layout.
void fused_attention(FusedKernel kernel, const AttentionShape& shape, const PackedLengths& lengths,
                     const AttentionInput& input, AttentionTape& tape);
void fused_attention_backward(FusedKernel kernel, const AttentionShape& shape, const PackedLengths& lengths,
                              const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                              const AttentionInput& gradient);

}  // namespace fltac
