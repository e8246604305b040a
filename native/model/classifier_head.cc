#include "model/classifier_head.h"

#include <algorithm>

#include "core/blas.h"
#include "model/cross_entropy.h"

namespace fltac {
namespace {

float* data(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }
const float* const_data(const at::Tensor& t) { return t.const_data_ptr<float>(); }
at::Tensor buffer(int64_t rows, int64_t columns) { return at::empty({rows, columns}, at::kFloat); }

// y = x W^T + b with each job's own W and b.
at::Tensor grouped_linear(const PassContext& pass, const HeadSlot& slot, const at::Tensor& x) {
  const at::Tensor y = buffer(x.size(0), slot.outputs);
  for (const JobRows& job : pass.batch.outputs.jobs) {
    const float* bias = pass.bank.head_bias(job.bank_row, slot);
    for (int64_t r = job.begin; r < job.end; ++r) {
      std::copy_n(bias, slot.outputs, data(y) + r * slot.outputs);
    }
    gemm(false, true, job.end - job.begin, slot.outputs, slot.inputs, 1.0f,
         const_data(x) + job.begin * slot.inputs, slot.inputs, pass.bank.head_weight(job.bank_row, slot),
         slot.inputs, 1.0f, data(y) + job.begin * slot.outputs, slot.outputs);
  }
  return y;
}

// Hands on the gradients of W and b where they are trained; gives that of x.
at::Tensor grouped_linear_backward(const PassContext& pass, const HeadSlot& slot, const at::Tensor& x,
                                   const at::Tensor& dy, GradientSink& sink) {
  const at::Tensor dx = at::empty_like(x), dweight = buffer(slot.outputs, slot.inputs);
  for (size_t j = 0; j < pass.batch.outputs.jobs.size(); ++j) {
    const JobRows& job = pass.batch.outputs.jobs[j];
    const int64_t rows = job.end - job.begin;
    const float* dyj = const_data(dy) + job.begin * slot.outputs;
    gemm(false, false, rows, slot.inputs, slot.outputs, 1.0f, dyj, slot.outputs,
         pass.bank.head_weight(job.bank_row, slot), slot.inputs, 0.0f, data(dx) + job.begin * slot.inputs,
         slot.inputs);
    if (!pass.bank.spec().train_head) continue;
    gemm(true, false, slot.outputs, slot.inputs, rows, 1.0f, dyj, slot.outputs,
         const_data(x) + job.begin * slot.inputs, slot.inputs, 0.0f, data(dweight), slot.inputs);
    const at::Tensor dbias = dy.narrow(0, job.begin, rows).sum(0);
    sink.take(j, slot.weight, const_data(dweight), dweight.numel());
    sink.take(j, slot.bias, const_data(dbias), dbias.numel());
  }
  return dx;
}

}  // namespace

at::Tensor ClassifierHead::drop(const at::Tensor& x, uint32_t site) const {
  const kernels::DropoutPlan plan = pass_.plan(pass_.architecture.head_dropout, site, pass_.batch.outputs);
  if (!plan.rate.active()) return x;
  const at::Tensor y = at::empty_like(x);
  kernels::dropout(const_data(x), plan, x.size(0), x.size(1), data(y));
  return y;
}

void ClassifierHead::drop_gradient(const at::Tensor& dx, uint32_t site) const {
  const kernels::DropoutPlan plan = pass_.plan(pass_.architecture.head_dropout, site, pass_.batch.outputs);
  if (plan.rate.active()) kernels::dropout(const_data(dx), plan, dx.size(0), dx.size(1), data(dx));
}

std::vector<double> ClassifierHead::losses(const at::Tensor& features, at::Tensor* logits) {
  const AdapterLayout& layout = pass_.bank.layout();
  at::Tensor x = features;
  if (row().pooler) x = pooled_ = pass_.backbone.pooler.forward(x).tanh_();
  // A few rows: not worth another device's while.
  x = x.to(at::kCPU);
  device_ = features.device();
  if (layout.head_dense) {
    dense_input_ = row().dropout_before_dense ? drop(x, kHeadDense) : x;
    const at::Tensor dense = grouped_linear(pass_, *layout.head_dense, dense_input_);
    x = squashed_ = row().dense_squash == Squash::Tanh ? dense.tanh() : dense.relu();
  }
  out_input_ = drop(x, kHeadOut);
  const at::Tensor values = grouped_linear(pass_, *layout.head_out, out_input_);
  if (pass_.options.gradients) dlogits_ = at::empty_like(values);
  std::vector<double> losses;
  const int64_t classes = values.size(1);
  for (const JobRows& job : pass_.batch.outputs.jobs) {
    const auto count = static_cast<double>(job.end - job.begin);
    for (int64_t r = job.begin; r < job.end; ++r) {
      losses.push_back(cross_entropy(const_data(values) + r * classes,
                                     pass_.batch.targets[static_cast<size_t>(r)], classes, count,
                                     dlogits_.defined() ? data(dlogits_) + r * classes : nullptr));
    }
  }
  if (logits) *logits = values;
  return losses;
}

at::Tensor ClassifierHead::backward(GradientSink& sink) {
  const AdapterLayout& layout = pass_.bank.layout();
  at::Tensor dx = grouped_linear_backward(pass_, *layout.head_out, out_input_, dlogits_, sink);
  drop_gradient(dx, kHeadOut);
  if (layout.head_dense) {
    const at::Tensor ddense = row().dense_squash == Squash::Tanh ? at::tanh_backward(dx, squashed_)
                                                                 : at::threshold_backward(dx, squashed_, 0);
    dx = grouped_linear_backward(pass_, *layout.head_dense, dense_input_, ddense, sink);
    if (row().dropout_before_dense) drop_gradient(dx, kHeadDense);
  }
  dx = dx.to(device_);
  if (!row().pooler) return dx;
  return pass_.backbone.pooler.input_gradient(at::tanh_backward(dx, pooled_));
}

}  // namespace fltac
