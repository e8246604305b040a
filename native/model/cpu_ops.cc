// The operations of a pass by the CPU's own kernels.
#include <ATen/Parallel.h>

#include <algorithm>

#include "core/blas.h"
#include "model/cross_entropy.h"
#include "model/ops.h"

namespace fltac {
namespace {

float* data(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }
float* data_or_null(const at::Tensor& t) { return t.defined() ? data(t) : nullptr; }
const float* const_data(const at::Tensor& t) { return t.const_data_ptr<float>(); }
const float* const_or_null(const at::Tensor& t) { return t.defined() ? const_data(t) : nullptr; }
HeadRows rows_of(const at::Tensor& t) { return {data(t), t.stride(0)}; }

class CpuOps final : public Ops {
 public:
  void dropout(const at::Tensor& x, const kernels::DropoutPlan& plan, const at::Tensor& y) const override {
    kernels::dropout(const_data(x), plan, x.size(0), x.size(1), data(y));
  }

  void dropout_add_norm(const at::Tensor& x, const at::Tensor& residual, const Norm& norm, float eps,
                        const kernels::DropoutPlan& plan, const NormResult& result) const override {
    kernels::dropout_add_norm(
        const_data(x), const_or_null(residual), norm.weights(eps), plan, x.size(0), x.size(1), data(result.y),
        {data_or_null(result.sum), data_or_null(result.normed), data_or_null(result.rstd)});
  }

  void dropout_add_norm_backward(const NormGradient& gradient, const Norm& norm, float eps,
                                 const kernels::DropoutPlan& plan, const at::Tensor& dresidual,
                                 const at::Tensor& dx) const override {
    kernels::dropout_add_norm_backward(const_data(gradient.dy), const_or_null(gradient.dsum),
                                       const_data(gradient.normed), const_data(gradient.rstd),
                                       norm.weights(eps), plan, dresidual.size(0), dresidual.size(1),
                                       data(dresidual), data_or_null(dx));
  }

  void silu_gate(const at::Tensor& hidden, const at::Tensor& active) const override {
    kernels::silu_gate(const_data(hidden), hidden.size(0), active.size(1), data(active));
  }

  void silu_gate_backward(const at::Tensor& hidden, const at::Tensor& dactive,
                          const at::Tensor& dhidden) const override {
    kernels::silu_gate_backward(const_data(hidden), const_data(dactive), hidden.size(0), dactive.size(1),
                                data(dhidden));
  }

  void gelu(const at::Tensor& hidden, bool tape, const at::Tensor& active) const override {
    kernels::gelu(data(hidden), hidden.size(0), hidden.size(1), tape, data(active));
  }

  at::Tensor gelu_backward(const at::Tensor& tape, const at::Tensor& dactive) const override {
    kernels::gelu_backward(const_data(tape), tape.size(0), tape.size(1), data(dactive));
    return dactive;
  }

  void turn(const RotaryTable& table, const at::Tensor& x, int64_t heads, std::span<const int32_t> positions,
            bool forwards) const override {
    table.turn(data(x), x.stride(0), heads, positions, forwards);
  }

  void attention(const AttentionShape& shape, const kernels::DropoutPlan& plan, const AttentionInput& input,
                 AttentionTape& tape) const override {
    attention_forward(shape, plan, rows_of(input.q), rows_of(input.k), rows_of(input.v), rows_of(tape.out),
                      data_or_null(tape.log_sum));
  }

  void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                          const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                          const AttentionInput& gradient) const override {
    fltac::attention_backward(shape, plan, rows_of(input.q), rows_of(input.k), rows_of(input.v),
                              rows_of(tape.out), rows_of(dout), const_data(tape.log_sum), rows_of(gradient.q),
                              rows_of(gradient.k), rows_of(gradient.v));
  }

  void lora(const LoraProduct& product, const at::Tensor& x, const at::Tensor& y,
            const at::Tensor& z) const override {
    lora_forward(product, const_data(x), data(y), y.stride(0), data(z));
  }

  void lora_backward(const LoraProduct& product, const at::Tensor& x, const at::Tensor& dy,
                     const at::Tensor& z, const at::Tensor& dx, GradientSink& sink) const override {
    fltac::lora_backward(product, const_data(x), const_data(dy), dy.stride(0), const_data(z),
                         data_or_null(dx), sink);
  }

  at::Tensor head(const HeadProduct& product, const at::Tensor& x) const override {
    const HeadSlot& slot = product.slot;
    const at::Tensor y = at::empty({x.size(0), slot.outputs}, at::kFloat);
    for (const JobRows& job : product.space.jobs) {
      const float* bias = product.bank.head_bias(job.bank_row, slot);
      for (int64_t r = job.begin; r < job.end; ++r) {
        std::copy_n(bias, slot.outputs, data(y) + r * slot.outputs);
      }
      gemm(false, true, job.end - job.begin, slot.outputs, slot.inputs, 1.0f,
           const_data(x) + job.begin * slot.inputs, slot.inputs, product.bank.head_weight(job.bank_row, slot),
           slot.inputs, 1.0f, data(y) + job.begin * slot.outputs, slot.outputs);
    }
    return y;
  }

  at::Tensor head_backward(const HeadProduct& product, const at::Tensor& x, const at::Tensor& dy,
                           GradientSink& sink) const override {
    const HeadSlot& slot = product.slot;
    const at::Tensor dx = at::empty_like(x), dweight = at::empty({slot.outputs, slot.inputs}, at::kFloat);
    for (size_t j = 0; j < product.space.jobs.size(); ++j) {
      const JobRows& job = product.space.jobs[j];
      const int64_t rows = job.end - job.begin;
      const float* dyj = const_data(dy) + job.begin * slot.outputs;
      gemm(false, false, rows, slot.inputs, slot.outputs, 1.0f, dyj, slot.outputs,
           product.bank.head_weight(job.bank_row, slot), slot.inputs, 0.0f,
           data(dx) + job.begin * slot.inputs, slot.inputs);
      if (!product.bank.spec().train_head) continue;
      gemm(true, false, slot.outputs, slot.inputs, rows, 1.0f, dyj, slot.outputs,
           const_data(x) + job.begin * slot.inputs, slot.inputs, 0.0f, data(dweight), slot.inputs);
      const at::Tensor dbias = dy.narrow(0, job.begin, rows).sum(0);
      sink.take(j, slot.weight, const_data(dweight), dweight.numel());
      sink.take(j, slot.bias, const_data(dbias), dbias.numel());
    }
    return dx;
  }

  at::Tensor class_losses(const at::Tensor& logits, const OutputTargets& targets,
                          const at::Tensor& dlogits) const override {
    const int64_t rows = logits.size(0), classes = logits.size(1);
    const at::Tensor losses = at::empty({rows}, at::kDouble);
    auto* loss = losses.mutable_data_ptr<double>();
    for (int64_t r = 0; r < rows; ++r) {
      const auto i = static_cast<size_t>(r);
      loss[r] =
          fltac::cross_entropy(const_data(logits) + r * classes, targets.labels[i], classes,
                               targets.counts[i], dlogits.defined() ? data(dlogits) + r * classes : nullptr);
    }
    return losses;
  }

  at::Tensor cross_entropy(const at::Tensor& logits, const OutputTargets& targets, int64_t first,
                           bool gradient) const override {
    const int64_t rows = logits.size(0), classes = logits.size(1);
    const at::Tensor losses = at::empty({rows}, at::kDouble);
    auto* loss = losses.mutable_data_ptr<double>();
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const auto i = static_cast<size_t>(first + r);
        loss[r] = cross_entropy_in_place(data(logits) + r * classes, targets.labels[i], classes,
                                         targets.counts[i], gradient);
      }
    });
    return losses;
  }
};

}  // namespace

const Ops& cpu_ops() {
  static const CpuOps ops;
  return ops;
}

}  // namespace fltac
