// The frozen language-model head: next-token logits of each output, in blocks of rows so that [rows, vocab]
// stays small whatever the batch.
#pragma once

#include "model/head.h"

namespace fltac {

class LanguageHead : public Head {
 public:
  explicit LanguageHead(const PassContext& pass) : pass_(pass) {}

  at::Tensor losses(const at::Tensor& features, at::Tensor* logits) override;
  // The features' gradient is complete after losses: the logits are not kept.
  at::Tensor backward(GradientSink& sink) override;

 private:
  const PassContext& pass_;
  at::Tensor dfeatures_;  // [outputs, hidden]
};

}  // namespace fltac
