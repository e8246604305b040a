// What a model ends with: from the transformer's features to losses, and back to the features' gradient.
#pragma once

#include <ATen/ATen.h>

#include <memory>

#include "model/pass_context.h"

namespace fltac {

class Head {
 public:
  // The head of the context's family. The context must outlive it.
  static std::unique_ptr<Head> of(const PassContext& pass);

  Head() = default;
  Head(const Head&) = delete;
  Head& operator=(const Head&) = delete;
  virtual ~Head() = default;

  // The cross-entropy of each output of the batch against its target, float64 [outputs], of the features
  // [outputs, hidden], on their device. With the context's gradients on it prepares backward; where `logits`
  // is not null it gets those of all outputs, float32 [outputs, classes or vocab], in the machine's memory.
  virtual at::Tensor losses(const at::Tensor& features, at::Tensor* logits) = 0;

  // Of the sum over jobs of each job's mean loss: the trained head's gradients to the sink, and
  // d/d(features).
  virtual at::Tensor backward(GradientSink& sink) = 0;
};

}  // namespace fltac
