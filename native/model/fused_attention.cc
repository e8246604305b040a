#include "model/fused_attention.h"

#include <ATen/Context.h>

#include <cmath>
#include <optional>
#include <tuple>

#if FLTAC_WITH_CUDA
#include "model/cuda_device.h"
#endif

namespace fltac {
namespace {

// libtorch's numbers for efficient attention's masks.
constexpr int64_t kNoMask = 0, kCausalFromTopLeft = 1;
// With more, several blocks of threads add to one gradient of a query, in any order.
constexpr int64_t kKeySplits = 1;

double scale_of(const AttentionShape& shape) { return 1.0 / std::sqrt(static_cast<double>(shape.head_dim)); }

int64_t group_of(const AttentionShape& shape) { return shape.heads / shape.kv_heads; }

// Whether flash attention may round to the type: gradients are too small for float16's range.
bool flash_rounds_to(at::ScalarType type, bool tape) {
  return type == at::kBFloat16 || (type == at::kHalf && !tape);
}

// Rows [n, heads d] as [n, heads, d].
at::Tensor by_heads(const at::Tensor& rows, int64_t heads) { return rows.unflatten(1, {heads, -1}); }

// Queries, keys and values as the flash kernel takes them.
struct FlashInput {
  FlashInput(const AttentionShape& shape, const AttentionInput& input)
      : q(by_heads(input.q.to(shape.products), shape.heads)),
        k(by_heads(input.k.to(shape.products), shape.kv_heads)),
        v(by_heads(input.v.to(shape.products), shape.kv_heads)) {}
  at::Tensor q, k, v;
};

struct Window {
  explicit Window(const AttentionShape& shape) {
    if (shape.window == 0) return;
    left = shape.window - 1;
    right = 0;
  }
  std::optional<int64_t> left, right;
};

// libtorch's kernels that have a deterministic form use it while this lives. The setting is the process's,
// which computes on one thread.
class Deterministic {
 public:
  Deterministic()
      : before_(at::globalContext().deterministicAlgorithms()),
        warns_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;
  ~Deterministic() { at::globalContext().setDeterministicAlgorithms(before_, warns_); }

 private:
  bool before_, warns_;
};

void flash(const AttentionShape& shape, const PackedLengths& lengths, const AttentionInput& input,
           AttentionTape& tape) {
  const FlashInput x(shape, input);
  const Window window(shape);
  const auto [out, log_sum, seed, offset, debug] = at::_flash_attention_forward(
      x.q, x.k, x.v, lengths.query_offsets, lengths.key_offsets, lengths.longest_queries,
      lengths.longest_keys, /*dropout_p=*/0.0, /*is_causal=*/shape.own_key != nullptr,
      /*return_debug_mask=*/false, std::optional<double>(scale_of(shape)), window.left, window.right);
  tape.out.copy_(out.flatten(1));
  if (tape.log_sum.defined()) tape.log_sum = log_sum;
  tape.seed = seed;
  tape.offset = offset;
}

void flash_backward(const AttentionShape& shape, const PackedLengths& lengths, const AttentionInput& input,
                    const AttentionTape& tape, const at::Tensor& dout, const AttentionInput& gradient) {
  const FlashInput x(shape, input);
  const Window window(shape);
  const auto of_queries = [&](const at::Tensor& rows) {
    return by_heads(rows.to(shape.products), shape.heads);
  };
  const at::Tensor g = of_queries(dout), out = of_queries(tape.out);
  const Deterministic setting;  // else dq is summed by atomic additions, in any order
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      g, x.q, x.k, x.v, out, tape.log_sum, lengths.query_offsets, lengths.key_offsets,
      lengths.longest_queries, lengths.longest_keys, /*dropout_p=*/0.0,
      /*is_causal=*/shape.own_key != nullptr, tape.seed, tape.offset, std::optional<double>(scale_of(shape)),
      window.left, window.right);
  gradient.q.copy_(dq.flatten(1));
  gradient.k.copy_(dk.flatten(1));
  gradient.v.copy_(dv.flatten(1));
}

// Rows [n, heads d] as the efficient kernel takes them: [1, n, heads, d], shared keys and values repeated.
at::Tensor efficient_rows(const at::Tensor& rows, int64_t heads, int64_t group) {
  const at::Tensor own = by_heads(rows, heads).unsqueeze(0);
  return group == 1 ? own : own.repeat_interleave(group, 2);
}

void efficient(const AttentionShape& shape, const PackedLengths& lengths, const AttentionInput& input,
               AttentionTape& tape) {
  const auto result = at::_efficient_attention_forward(
      efficient_rows(input.q, shape.heads, 1), efficient_rows(input.k, shape.kv_heads, group_of(shape)),
      efficient_rows(input.v, shape.kv_heads, group_of(shape)), /*bias=*/{}, lengths.query_offsets,
      lengths.key_offsets, lengths.longest_queries, lengths.longest_keys, /*dropout_p=*/0.0,
      shape.own_key ? kCausalFromTopLeft : kNoMask, /*compute_log_sumexp=*/tape.log_sum.defined(),
      std::optional<double>(scale_of(shape)));
  tape.out.copy_(std::get<0>(result).squeeze(0).flatten(1));
  if (tape.log_sum.defined()) tape.log_sum = std::get<1>(result);
  tape.seed = std::get<2>(result);
  tape.offset = std::get<3>(result);
}

void efficient_backward(const AttentionShape& shape, const PackedLengths& lengths,
                        const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                        const AttentionInput& gradient) {
  const int64_t group = group_of(shape);
  const auto result = at::_efficient_attention_backward(
      efficient_rows(dout, shape.heads, 1), efficient_rows(input.q, shape.heads, 1),
      efficient_rows(input.k, shape.kv_heads, group), efficient_rows(input.v, shape.kv_heads, group),
      /*bias=*/{}, efficient_rows(tape.out, shape.heads, 1), lengths.query_offsets, lengths.key_offsets,
      lengths.longest_queries, lengths.longest_keys, tape.log_sum, /*dropout_p=*/0.0, tape.seed, tape.offset,
      shape.own_key ? kCausalFromTopLeft : kNoMask, /*bias_requires_grad=*/false,
      std::optional<double>(scale_of(shape)), kKeySplits);
  // Heads that share keys add up.
  const auto rows = [&](const at::Tensor& heads, int64_t sharing) {
    const at::Tensor flat = heads.squeeze(0);
    return (sharing == 1 ? flat : flat.unflatten(1, {-1, sharing}).sum(2)).flatten(1);
  };
  gradient.q.copy_(rows(std::get<0>(result), 1));
  gradient.k.copy_(rows(std::get<1>(result), group));
  gradient.v.copy_(rows(std::get<2>(result), group));
}

}  // namespace

bool lies_packed(const AttentionShape& shape) {
  int64_t query = 0, key = 0;
  for (const SequenceRows& at : shape.sequences) {
    if (at.first_query != query || at.first_key != key || at.queries < 1 || at.keys < 1) return false;
    if (shape.own_key) {
      if (at.queries != at.keys) return false;
      for (int64_t i = 0; i < at.queries; ++i) {
        if (shape.own_key[at.first_query + i] != i) return false;
      }
    }
    query += at.queries;
    key += at.keys;
  }
  return query > 0;
}

FusedKernel fused_kernel(const AttentionShape& shape, const FusedConditions& conditions) {
  if (!conditions.cuda || conditions.dropout) return FusedKernel::None;
  // What both kernels' widest loads ask for; beyond 256 flash has no kernel.
  if (shape.head_dim % 8 != 0 || shape.head_dim > 256) return FusedKernel::None;
  if (flash_rounds_to(shape.products, conditions.tape) && conditions.capability >= 8)
    return FusedKernel::Flash;
  return shape.window == 0 ? FusedKernel::Efficient : FusedKernel::None;
}

FusedKernel fused_kernel(const AttentionShape& shape, const kernels::DropoutPlan& plan, bool tape,
                         const at::Device& device) {
  int64_t capability = 0;
#if FLTAC_WITH_CUDA
  if (device.is_cuda()) capability = cuda::capability_major(device.index());
#endif
  return fused_kernel(shape, {plan.rate.active(), tape, device.is_cuda(), capability});
}

void fused_attention(FusedKernel kernel, const AttentionShape& shape, const PackedLengths& lengths,
                     const AttentionInput& input, AttentionTape& tape) {
  tape.kernel = kernel;
  if (kernel == FusedKernel::Flash) {
    flash(shape, lengths, input, tape);
  } else {
    efficient(shape, lengths, input, tape);
  }
}

void fused_attention_backward(const AttentionShape& shape, const PackedLengths& lengths,
                              const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                              const AttentionInput& gradient) {
  if (tape.kernel == FusedKernel::Flash) {
    flash_backward(shape, lengths, input, tape, dout, gradient);
  } else {
    efficient_backward(shape, lengths, input, tape, dout, gradient);
  }
}

}  // namespace fltac
