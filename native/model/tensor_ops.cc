// The operations of a pass made of tensor operations, for devices without kernels of their own here.
#include <array>
#include <cmath>

#include "model/fused_attention.h"
#include "model/ops.h"
#include "model/tensor_attention.h"

namespace fltac {
namespace {

at::Tensor buffer(int64_t rows, int64_t columns, const at::Tensor& like) {
  return at::empty({rows, columns}, like.options());
}

// A factor or module of each job of a group, [jobs, shape...].
at::Tensor values_of(const AdapterView& adapters, const JobGroup& group, int64_t offset,
                     at::IntArrayRef shape, const at::Device& device) {
  return adapters.values(group.adapters, offset, shape, device);
}

// The factors of the adapters of a group.
struct Factors {
  Factors(const LoraProduct& product, const JobGroup& group, const at::Device& device)
      : a(values_of(product.adapters, group, product.slot.a_offset,
                    {product.bank.spec().rank, product.inputs}, device)),
        b(values_of(product.adapters, group, product.slot.b_offset,
                    {product.outputs, product.bank.spec().rank}, device)) {}
  at::Tensor a;  // [jobs, rank, inputs]
  at::Tensor b;  // [jobs, outputs, rank]
};

// A module of the classification head for the jobs of a group; a frozen one is the same for all.
struct Module {
  Module(const HeadProduct& product, const JobGroup& group, BatchTables& tables, const at::Device& device) {
    const HeadSlot& slot = product.slot;
    const std::array<int64_t, 2> shape{slot.outputs, slot.inputs};
    if (product.bank.spec().trains_head()) {
      weight = values_of(product.adapters, group, slot.weight, shape, device);
      bias = values_of(product.adapters, group, slot.bias, {1, slot.outputs}, device);
      return;
    }
    const FrozenModule& frozen = tables.frozen(product.bank, slot, device);
    weight = frozen.weight.expand({group.size(), -1, -1});
    bias = frozen.bias.expand({group.size(), 1, -1});
  }
  at::Tensor weight;  // [jobs, outputs, inputs]
  at::Tensor bias;    // [jobs, 1, outputs]
};

class TensorOps final : public Ops {
 public:
  explicit TensorOps(BatchTables& tables) : tables_(tables) {}

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
    const auto& [cosine, sine] = tables_.rotary(table, positions, x.device());  // [rows, d / 2]
    const int64_t half = cosine.size(1);
    const at::Tensor pairs = x.unflatten(1, {heads, 2, half});
    const at::Tensor a = pairs.select(2, 0).clone(), b = pairs.select(2, 1).clone();
    const at::Tensor c = cosine.unsqueeze(1), s = forwards ? sine.unsqueeze(1) : -sine.unsqueeze(1);
    pairs.select(2, 0).copy_(a * c - b * s);
    pairs.select(2, 1).copy_(b * c + a * s);
  }

  void attention(const AttentionShape& shape, const kernels::DropoutPlan& plan, const AttentionInput& input,
                 AttentionTape& tape) const override {
    const FusedKernel kernel = fused_kernel(shape, plan, tape.log_sum.defined(), input.q.device());
    if (kernel != FusedKernel::None) {
      const PackedLengths& lengths = tables_.lengths(shape, input.q.device());
      if (lengths.packed) return fused_attention(kernel, shape, lengths, input, tape);
    }
    tape.kernel = FusedKernel::None;
    tensor_attention(tables_.attention(shape, input.q.device()), plan, input, tape);
  }

  void attention_backward(const AttentionShape& shape, const kernels::DropoutPlan& plan,
                          const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                          const AttentionInput& gradient) const override {
    if (tape.kernel != FusedKernel::None) {
      fused_attention_backward(shape, tables_.lengths(shape, input.q.device()), input, tape, dout, gradient);
      return;
    }
    const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
    tensor_attention_backward(tables_.attention(shape, input.q.device()), scale, plan, input, tape, dout,
                              gradient);
  }

  void lora(const LoraProduct& product, const at::Tensor& x, const at::Tensor& y,
            const at::Tensor& z) const override {
    const float scaling = product.bank.spec().scaling();
    const JobGroups& jobs = tables_.groups(product.space, product.adapters, x.device());
    const at::Tensor xd = jobs.spread(dropped(x, product.plan));
    const at::Tensor zs = jobs.in_place() ? z : buffer(jobs.places(), z.size(1), z);
    const at::Tensor ys = jobs.in_place() ? y : buffer(jobs.places(), y.size(1), z);
    for (const JobGroup& group : jobs.groups()) {
      const Factors factors(product, group, x.device());
      at::Tensor zg = group.of(zs), yg = group.of(ys);
      at::bmm_out(zg, group.of(xd), factors.a.transpose(1, 2));
      // beta 0 writes, whatever was there.
      yg.baddbmm_(zg, factors.b.transpose(1, 2), jobs.in_place() ? 1.0 : 0.0, scaling);
    }
    if (jobs.in_place()) return;
    z.copy_(jobs.gather(zs));
    y.add_(jobs.gather(ys));
  }

  // With s the scaling: dz = s dy B, dB = s dy^T z, dA = dz^T dropout(x), dx += dropout'(dz A).
  void lora_backward(const LoraProduct& product, const at::Tensor& x, const at::Tensor& dy,
                     const at::Tensor& z, const at::Tensor& dx, GradientSink& sink) const override {
    const float scaling = product.bank.spec().scaling();
    const JobGroups& jobs = tables_.groups(product.space, product.adapters, x.device());
    const at::Tensor mask = mask_of(product.plan, x);
    const at::Tensor xd = jobs.spread(mask.defined() ? x * mask : x);
    const at::Tensor dys = jobs.spread_gradients(dy), zs = jobs.spread(z);
    const at::Tensor dxs = dx.defined() ? buffer(jobs.places(), x.size(1), x) : at::Tensor();
    for (const JobGroup& group : jobs.groups()) {
      const Factors factors(product, group, x.device());
      const at::Tensor dyg = group.of(dys);
      const at::Tensor dz = dyg.bmm(factors.b).mul_(scaling);
      if (dxs.defined()) {
        at::Tensor dxg = group.of(dxs);
        at::bmm_out(dxg, dz, factors.a);
      }
      const at::Tensor db = dyg.transpose(1, 2).bmm(group.of(zs)).mul_(scaling);
      sink.take_all(group.jobs, group.adapters, product.slot.a_offset, dz.transpose(1, 2).bmm(group.of(xd)));
      sink.take_all(group.jobs, group.adapters, product.slot.b_offset, db);
    }
    if (!dx.defined()) return;
    const at::Tensor dxd = jobs.gather(dxs);
    if (mask.defined()) {
      dx.addcmul_(dxd, mask);
    } else {
      dx.add_(dxd);
    }
  }

  at::Tensor head(const HeadProduct& product, const at::Tensor& x) const override {
    const JobGroups& jobs = tables_.groups(product.space, product.adapters, x.device());
    const at::Tensor xs = jobs.spread(x), ys = buffer(jobs.places(), product.slot.outputs, x);
    for (const JobGroup& group : jobs.groups()) {
      const Module module(product, group, tables_, x.device());
      at::Tensor yg = group.of(ys);
      at::baddbmm_out(yg, module.bias, group.of(xs), module.weight.transpose(1, 2));
    }
    return jobs.gather(ys);
  }

  at::Tensor head_backward(const HeadProduct& product, const at::Tensor& x, const at::Tensor& dy,
                           GradientSink& sink) const override {
    const JobGroups& jobs = tables_.groups(product.space, product.adapters, x.device());
    const at::Tensor xs = jobs.spread(x), dys = jobs.spread_gradients(dy);
    const at::Tensor dxs = buffer(jobs.places(), product.slot.inputs, x);
    for (const JobGroup& group : jobs.groups()) {
      const Module module(product, group, tables_, x.device());
      const at::Tensor dyg = group.of(dys);
      at::Tensor dxg = group.of(dxs);
      at::bmm_out(dxg, dyg, module.weight);
      if (!product.bank.spec().train_head) continue;
      sink.take_all(group.jobs, group.adapters, product.slot.weight, dyg.transpose(1, 2).bmm(group.of(xs)));
      sink.take_all(group.jobs, group.adapters, product.slot.bias, dyg.sum(1));
    }
    return jobs.gather(dxs);
  }

  // In float64, as the CPU's: classes are few.
  at::Tensor class_losses(const at::Tensor& logits, const OutputTargets& targets,
                          const at::Tensor& dlogits) const override {
    const auto& [labels, counts] = tables_.targets(targets, logits.device());
    const at::Tensor values = logits.to(at::kDouble), label = labels.unsqueeze(1);
    const at::Tensor log_sum = values.logsumexp(1, true);
    const at::Tensor losses = (log_sum - values.gather(1, label)).squeeze(1);
    if (dlogits.defined()) dlogits.copy_(gradient_of(values, log_sum, label, counts.unsqueeze(1)));
    return losses;
  }

  at::Tensor cross_entropy(const at::Tensor& logits, const OutputTargets& targets, int64_t first,
                           bool gradient) const override {
    const auto& [labels, counts] = tables_.targets(targets, logits.device());
    const at::Tensor label = labels.narrow(0, first, logits.size(0)).unsqueeze(1);
    const at::Tensor count = counts.narrow(0, first, logits.size(0)).unsqueeze(1).to(at::kFloat);
    const at::Tensor log_sum = logits.logsumexp(1, true);
    const at::Tensor losses = (log_sum - logits.gather(1, label)).squeeze(1).to(at::kDouble);
    if (gradient) gradient_of(logits, log_sum, label, count);
    return losses;
  }

 private:
  at::Tensor mask_of(const kernels::DropoutPlan& plan, const at::Tensor& x) const {
    if (!plan.rate.active()) return {};
    return tables_.row_masks(plan.rows, x.size(0), x.size(1), x.device()).draw(plan, x.sizes());
  }

  at::Tensor dropped(const at::Tensor& x, const kernels::DropoutPlan& plan) const {
    return plan.rate.active() ? x * mask_of(plan, x) : x;
  }

  // Logits in place to (softmax - one hot) / count.
  static at::Tensor gradient_of(const at::Tensor& logits, const at::Tensor& log_sum, const at::Tensor& label,
                                const at::Tensor& count) {
    logits.sub_(log_sum).exp_();
    logits.scatter_add_(1, label, at::full(label.sizes(), -1.0, logits.options()));
    return logits.div_(count);
  }

  BatchTables& tables_;
};

}  // namespace

std::unique_ptr<Ops> make_tensor_ops(BatchTables& tables) { return std::make_unique<TensorOps>(tables); }

}  // namespace fltac
