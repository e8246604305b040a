// The classification heads of the table: [pooler, tanh], [dropout], [dense, squash], dropout, out.
#pragma once

#include "model/head.h"

namespace fltac {

class ClassifierHead : public Head {
 public:
  explicit ClassifierHead(const PassContext& pass) : pass_(pass) {}

  at::Tensor losses(const at::Tensor& features, at::Tensor* logits) override;
  at::Tensor backward(GradientSink& sink) override;

 private:
  const HeadRow& row() const { return pass_.architecture.family->head; }
  // dropout(x), or x itself where nothing is dropped.
  at::Tensor drop(const at::Tensor& x, uint32_t site) const;
  void drop_gradient(const at::Tensor& dx, uint32_t site) const;
  kernels::DropoutPlan plan(uint32_t site) const;
  HeadProduct product(const HeadSlot& slot) const;

  const PassContext& pass_;
  // Kept for backward, [outputs, hidden].
  at::Tensor pooled_;  // after tanh
  at::Tensor dense_input_;
  at::Tensor squashed_;
  at::Tensor out_input_;
  at::Tensor dlogits_;  // [outputs, labels]
};

}  // namespace fltac
