// The operations of a pass made of tensor operations, for devices without kernels of their own here.
#include <cmath>

#include "model/masks.h"
#include "model/ops.h"
#include "model/tensor_attention.h"

namespace fltac {
namespace {

at::Tensor dropped(const at::Tensor& x, const kernels::DropoutPlan& plan) {
  return plan.rate.active() ? x * draw_row_masks(plan, x.size(0), x.size(1), x.device()) : x;
}

at::Tensor rows_of(const at::Tensor& x, const JobRows& job) {
  return x.narrow(0, job.begin, job.end - job.begin);
}

// The factors of one job's adapter.
struct Factors {
  Factors(const LoraProduct& product, const JobRows& job, const at::Device& device)
      : a(product.adapters.values(job.bank_row, product.slot.a_offset,
                                  {product.bank.spec().rank, product.inputs}, device)),
        b(product.adapters.values(job.bank_row, product.slot.b_offset,
                                  {product.outputs, product.bank.spec().rank}, device)) {}
  at::Tensor a;  // [rank, inputs]
  at::Tensor b;  // [outputs, rank]
};

class TensorOps final : public Ops {
 public:
  void dropout(const at::Tensor& x, const kernels::DropoutPlan& plan, const at::Tensor& y) const override {
    y.copy_(dropped(x, plan));
  }

  void dropout_add_norm(const at::Tensor& x, const at::Tensor& residual, const Norm& norm, float eps,
                        const kernels::DropoutPlan& plan, const NormResult& result) const override {
    at::Tensor sum = dropped(x, plan);
    if (residual.defined()) sum = sum + residual;
    const at::Tensor centred = norm.shift.defined() ? sum - sum.mean(1, true) : sum;
    const at::Tensor rstd = (centred.square().mean(1, true) + eps).rsqrt();
    const at::Tensor normed = centred * rstd;
    const at::Tensor scaled = normed * norm.gain;
    result.y.copy_(norm.shift.defined() ? scaled + norm.shift : scaled);
    if (result.sum.defined()) result.sum.copy_(sum);
    if (result.normed.defined()) result.normed.copy_(normed);
    if (result.rstd.defined()) result.rstd.copy_(rstd.squeeze(1));
  }

  // With g = dy gain: rstd (g - mean(g) - normed mean(g normed)); without the second term for RMSNorm.
  void dropout_add_norm_backward(const NormGradient& gradient, const Norm& norm, float,
                                 const kernels::DropoutPlan& plan, const at::Tensor& dresidual,
                                 const at::Tensor& dx) const override {
    const at::Tensor g = gradient.dy * norm.gain;
    at::Tensor inner = g - gradient.normed * (g * gradient.normed).mean(1, true);
    if (norm.shift.defined()) inner = inner - g.mean(1, true);
    at::Tensor dsum = inner * gradient.rstd.unsqueeze(1);
    if (gradient.dsum.defined()) dsum = dsum + gradient.dsum;
    if (dx.defined()) dx.copy_(dropped(dsum, plan));
    dresidual.copy_(dsum);
  }

  void silu_gate(const at::Tensor& hidden, const at::Tensor& active) const override {
    const int64_t n = active.size(1);
    active.copy_(at::silu(hidden.narrow(1, 0, n)) * hidden.narrow(1, n, n));
  }

  void silu_gate_backward(const at::Tensor& hidden, const at::Tensor& dactive,
                          const at::Tensor& dhidden) const override {
    const int64_t n = dactive.size(1);
    const at::Tensor gate = hidden.narrow(1, 0, n), up = hidden.narrow(1, n, n);
    dhidden.narrow(1, n, n).copy_(dactive * at::silu(gate));
    dhidden.narrow(1, 0, n).copy_(at::silu_backward(dactive * up, gate));
  }

  void gelu(const at::Tensor& hidden, bool, const at::Tensor& active) const override {
    at::Tensor out = active;
    at::gelu_out(out, hidden);
  }

  at::Tensor gelu_backward(const at::Tensor& tape, const at::Tensor& dactive) const override {
    return at::gelu_backward(dactive, tape);
  }

  void turn(const RotaryTable& table, const at::Tensor& x, int64_t heads, std::span<const int32_t> positions,
            bool forwards) const override {
    const auto [cosine, sine] = table.rows(positions, x.device());  // [rows, d / 2]
    const int64_t half = cosine.size(1);
    const at::Tensor pairs = x.unflatten(1, {heads, 2, half});
    const at::Tensor a = pairs.select(2, 0).clone(), b = pairs.select(2, 1).clone();
    const at::Tensor c = cosine.unsqueeze(1), s = forwards ? sine.unsqueeze(1) : -sine.unsqueeze(1);
    pairs.select(2, 0).copy_(a * c - b * s);
    pairs.select(2, 1).copy_(b * c + a * s);
  }

  void attention(const AttentionShape& shape, const kernels::DropoutPlan& plan, const AttentionInput& input,
                 const AttentionTape& tape) const override {
    tensor_attention(shape, plan, input, tape);
  }

  void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                          const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                          const AttentionInput& gradient) const override {
    tensor_attention_backward(shape, plan, input, tape, dout, gradient);
  }

  void lora(const LoraProduct& product, const at::Tensor& x, const at::Tensor& y,
            const at::Tensor& z) const override {
    const at::Tensor xd = dropped(x, product.plan);
    for (const JobRows& job : product.space.jobs) {
      const Factors factors(product, job, x.device());
      at::Tensor zj = rows_of(z, job), yj = rows_of(y, job);
      at::mm_out(zj, rows_of(xd, job), factors.a.t());
      yj.addmm_(zj, factors.b.t(), 1.0, product.bank.spec().scaling());
    }
  }

  void lora_backward(const LoraProduct& product, const at::Tensor& x, const at::Tensor& dy,
                     const at::Tensor& z, const at::Tensor& dx, GradientSink& sink) const override {
    const float scaling = product.bank.spec().scaling();
    const at::Tensor mask = product.plan.rate.active()
                                ? draw_row_masks(product.plan, x.size(0), x.size(1), x.device())
                                : at::Tensor();
    const at::Tensor xd = mask.defined() ? x * mask : x;
    for (size_t j = 0; j < product.space.jobs.size(); ++j) {
      const JobRows& job = product.space.jobs[j];
      const Factors factors(product, job, x.device());
      const at::Tensor dyj = rows_of(dy, job);
      const at::Tensor dz = dyj.mm(factors.b) * scaling;
      const at::Tensor db = dyj.t().mm(rows_of(z, job)) * scaling;
      const at::Tensor da = dz.t().mm(rows_of(xd, job));
      if (dx.defined()) {
        const at::Tensor dxd = dz.mm(factors.a);
        rows_of(dx, job).add_(mask.defined() ? dxd * rows_of(mask, job) : dxd);
      }
      sink.take(j, product.slot.a_offset, da);
      sink.take(j, product.slot.b_offset, db);
    }
  }

  std::vector<double> cross_entropy(const at::Tensor& logits, std::span<const int32_t> targets,
                                    std::span<const double> counts, bool gradient) const override {
    const auto rows = static_cast<int64_t>(targets.size());
    const at::Tensor target = at::from_blob(const_cast<int32_t*>(targets.data()), {rows}, at::kInt)
                                  .to(at::kLong)
                                  .to(logits.device());
    const at::Tensor log_sum = logits.logsumexp(1, true);
    const at::Tensor losses = (log_sum - logits.gather(1, target.unsqueeze(1)))
                                  .squeeze(1)
                                  .to(at::kDouble)
                                  .to(at::kCPU)
                                  .contiguous();
    if (gradient) {
      const at::Tensor count = at::from_blob(const_cast<double*>(counts.data()), {rows, 1}, at::kDouble)
                                   .to(at::kFloat)
                                   .to(logits.device());
      logits.sub_(log_sum).exp_();
      logits.scatter_add_(1, target.unsqueeze(1), at::full({rows, 1}, -1.0, logits.options()));
      logits.div_(count);
    }
    const double* values = losses.const_data_ptr<double>();
    return {values, values + rows};
  }
};

}  // namespace

const Ops& tensor_ops() {
  static const TensorOps ops;
  return ops;
}

}  // namespace fltac
