#include "model/classifier_head.h"

namespace fltac {

kernels::DropoutPlan ClassifierHead::plan(uint32_t site) const {
  return pass_.plan(pass_.architecture.head_dropout, site, pass_.batch.outputs);
}

HeadProduct ClassifierHead::product(const HeadSlot& slot) const {
  return {pass_.bank, pass_.adapters(), pass_.batch.outputs, slot};
}

at::Tensor ClassifierHead::drop(const at::Tensor& x, uint32_t site) const {
  const kernels::DropoutPlan drop = plan(site);
  if (!drop.rate.active()) return x;
  const at::Tensor y = at::empty_like(x);
  pass_.output_ops().dropout(x, drop, y);
  return y;
}

void ClassifierHead::drop_gradient(const at::Tensor& dx, uint32_t site) const {
  const kernels::DropoutPlan drop = plan(site);
  if (drop.rate.active()) pass_.output_ops().dropout(dx, drop, dx);
}

at::Tensor ClassifierHead::losses(const at::Tensor& features, at::Tensor* logits) {
  const AdapterLayout& layout = pass_.bank.layout();
  const Ops& ops = pass_.output_ops();
  at::Tensor x = features;
  if (row().pooler) x = pooled_ = pass_.backbone.pooler.forward(x).tanh_();
  if (layout.head_dense) {
    dense_input_ = row().dropout_before_dense ? drop(x, kHeadDense) : x;
    const at::Tensor dense = ops.head(product(*layout.head_dense), dense_input_);
    x = squashed_ = row().dense_squash == Squash::Tanh ? dense.tanh() : dense.relu();
  }
  out_input_ = drop(x, kHeadOut);
  const at::Tensor values = ops.head(product(*layout.head_out), out_input_);
  if (pass_.options.gradients) dlogits_ = at::empty_like(values);
  if (logits) *logits = values.to(at::kCPU).contiguous();
  return ops.class_losses(values, pass_.targets, dlogits_);
}

at::Tensor ClassifierHead::backward(GradientSink& sink) {
  const AdapterLayout& layout = pass_.bank.layout();
  const Ops& ops = pass_.output_ops();
  at::Tensor dx = ops.head_backward(product(*layout.head_out), out_input_, dlogits_, sink);
  drop_gradient(dx, kHeadOut);
  if (layout.head_dense) {
    const at::Tensor ddense = row().dense_squash == Squash::Tanh ? at::tanh_backward(dx, squashed_)
                                                                 : at::threshold_backward(dx, squashed_, 0);
    dx = ops.head_backward(product(*layout.head_dense), dense_input_, ddense, sink);
    if (row().dropout_before_dense) drop_gradient(dx, kHeadDense);
  }
  if (!row().pooler) return dx;
  return pass_.backbone.pooler.input_gradient(at::tanh_backward(dx, pooled_));
}

}  // namespace fltac
