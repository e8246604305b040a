// What a pass computes besides products with frozen weights. There are two implementations: the CPU's own
// kernels, and one made of tensor operations for every other device (portable, CUDA). Tensors are float32 and
// lie on the implementation's device; [rows, n] is row-major, and where a parameter may be columns of a wider
// buffer it says "strided".
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>

#include "lora/lora.h"
#include "model/attention.h"
#include "model/backbone.h"
#include "model/batch_tables.h"
#include "model/kernels.h"
#include "model/rotary.h"

namespace fltac {

// Results of dropout_add_norm: y, and where they are defined what backward and a residual stream read. All
// [rows, n], rstd [rows].
struct NormResult {
  at::Tensor y, sum, normed, rstd;
};

// Gradients that dropout_add_norm's backward starts from, and what it reads. dsum reaches the sum on another
// way and may be undefined.
struct NormGradient {
  at::Tensor dy, dsum, normed, rstd;
};

struct AttentionInput {
  at::Tensor q, k, v;  // strided: [queries, heads d], [keys, kv_heads d]
};

// libtorch's attention kernels (model/fused_attention.h); None: attention by tensor operations.
enum class FusedKernel : uint8_t { None, Flash, Efficient };

struct AttentionTape {
  at::Tensor out;           // [queries, heads d]
  at::Tensor log_sum;       // [queries, heads]; a fused kernel puts one in its own layout in its place
  at::Tensor seed, offset;  // what a fused kernel's backward asks for; else undefined
  FusedKernel kernel = FusedKernel::None;  // what made it, and so makes its backward
};

class Ops {
 public:
  Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;
  virtual ~Ops() = default;

  // y = dropout(x); y may be x.
  virtual void dropout(const at::Tensor& x, const kernels::DropoutPlan& plan, const at::Tensor& y) const = 0;

  // y = norm(dropout(x) + residual); residual may be undefined (then 0).
  virtual void dropout_add_norm(const at::Tensor& x, const at::Tensor& residual, const Norm& norm, float eps,
                                const kernels::DropoutPlan& plan, const NormResult& result) const = 0;
  // To the gradients of the residual and of x; dx may be undefined where nothing is dropped: it equals
  // dresidual.
  virtual void dropout_add_norm_backward(const NormGradient& gradient, const Norm& norm, float eps,
                                         const kernels::DropoutPlan& plan, const at::Tensor& dresidual,
                                         const at::Tensor& dx) const = 0;

  // active [rows, n] = silu(gate) up, with gate and up side by side in hidden [rows, 2 n].
  virtual void silu_gate(const at::Tensor& hidden, const at::Tensor& active) const = 0;
  virtual void silu_gate_backward(const at::Tensor& hidden, const at::Tensor& dactive,
                                  const at::Tensor& dhidden) const = 0;

  // active [rows, n] = gelu(hidden), the exact form. With `tape` hidden is left as what gelu_backward reads.
  virtual void gelu(const at::Tensor& hidden, bool tape, const at::Tensor& active) const = 0;
  // From d(active), which may be overwritten, to d(hidden).
  virtual at::Tensor gelu_backward(const at::Tensor& tape, const at::Tensor& dactive) const = 0;

  // Turns the heads of x (strided [rows, heads d]), row r by positions[r]; back where `forwards` is false.
  virtual void turn(const RotaryTable& table, const at::Tensor& x, int64_t heads,
                    std::span<const int32_t> positions, bool forwards) const = 0;

  // As attention_forward and attention_backward of model/attention.h; tape.out is written, and of the rest
  // what backward reads, unless tape.log_sum is undefined.
  virtual void attention(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                         const AttentionInput& input, AttentionTape& tape) const = 0;
  // gradient.q, k and v (strided) are written.
  virtual void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                                  const AttentionInput& input, const AttentionTape& tape,
                                  const at::Tensor& dout, const AttentionInput& gradient) const = 0;

  // As lora_forward and lora_backward of lora/lora.h; y and dy strided, dx may be undefined.
  virtual void lora(const LoraProduct& product, const at::Tensor& x, const at::Tensor& y,
                    const at::Tensor& z) const = 0;
  virtual void lora_backward(const LoraProduct& product, const at::Tensor& x, const at::Tensor& dy,
                             const at::Tensor& z, const at::Tensor& dx, GradientSink& sink) const = 0;

  // y = x W^T + b with each job's own module of the classification head: x [rows, inputs], y [rows, outputs].
  virtual at::Tensor head(const HeadProduct& product, const at::Tensor& x) const = 0;
  // Hands on the gradients of W and b where they are trained; gives that of x.
  virtual at::Tensor head_backward(const HeadProduct& product, const at::Tensor& x, const at::Tensor& dy,
                                   GradientSink& sink) const = 0;

  // The cross-entropy of each row of class logits [outputs, classes] against its target, float64 [outputs],
  // on the logits' device; where dlogits is defined it becomes d(loss / count)/d(logits).
  virtual at::Tensor class_losses(const at::Tensor& logits, const OutputTargets& targets,
                                  const at::Tensor& dlogits) const = 0;
  // The same over a vocabulary and in place: with `gradient` the logits [rows, vocab] become
  // d(loss / count)/d(logits), else they mean nothing any more. Their rows are the outputs from `first` on.
  virtual at::Tensor cross_entropy(const at::Tensor& logits, const OutputTargets& targets, int64_t first,
                                   bool gradient) const = 0;
};

const Ops& cpu_ops();

// Tensor operations over one batch, on any number of devices. The tables must outlive them.
std::unique_ptr<Ops> make_tensor_ops(BatchTables& tables);

}  // namespace fltac
