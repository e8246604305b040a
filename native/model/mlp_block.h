// One layer's MLP: out(gelu(in(x))), or with a gate out(silu(gate(x)) in(x)).
#pragma once

#include <ATen/ATen.h>

#include "model/pass_context.h"

namespace fltac {

class MlpBlock {
 public:
  MlpBlock(const PassContext& pass, int64_t layer, LayerLora& lora);

  // input [queries, hidden] -> [queries, hidden], without dropout, residual and norm.
  at::Tensor forward(const at::Tensor& input);

  // From forward's gradient to the input's. `residual` is the gradient that reaches the input on another way
  // and is added (and overwritten), or undefined.
  at::Tensor backward(const at::Tensor& dout, const at::Tensor& residual, GradientSink& sink);

 private:
  bool gated() const { return pass_.architecture.has(Role::MlpGate); }
  // Columns of the hidden buffer: the gate's come first.
  at::Tensor gate(const at::Tensor& hidden) const { return hidden.narrow(1, 0, width()); }
  at::Tensor in(const at::Tensor& hidden) const {
    return gated() ? hidden.narrow(1, width(), width()) : hidden;
  }
  int64_t width() const { return pass_.architecture.intermediate; }
  at::Tensor activate(const at::Tensor& hidden) const;
  at::Tensor activate_backward(const at::Tensor& dactive) const;

  const PassContext& pass_;
  const LayerWeights& weights_;
  LayerLora& lora_;
  int64_t layer_;
  // What backward reads; input and active only where LoRA does.
  at::Tensor
      hidden_;  // [queries, intermediate or twice that], before the activation or as its backward reads it
  at::Tensor input_, active_;
};

}  // namespace fltac
