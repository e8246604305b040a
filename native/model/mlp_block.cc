#include "model/mlp_block.h"

namespace fltac {

MlpBlock::MlpBlock(const PassContext& pass, int64_t layer, LayerLora& lora)
    : pass_(pass), weights_(pass.backbone.layers[static_cast<size_t>(layer)]), lora_(lora), layer_(layer) {}

at::Tensor MlpBlock::activate(const at::Tensor& hidden) const {
  const at::Tensor active = buffer(hidden.size(0), width(), hidden);
  if (gated()) {
    pass_.ops(layer_).silu_gate(hidden, active);
  } else {
    pass_.ops(layer_).gelu(hidden, pass_.keeps_tape(layer_), active);
  }
  return active;
}

at::Tensor MlpBlock::activate_backward(const at::Tensor& dactive) const {
  if (!gated()) return pass_.ops(layer_).gelu_backward(hidden_, dactive);
  const at::Tensor dhidden = at::empty_like(hidden_);
  pass_.ops(layer_).silu_gate_backward(hidden_, dactive, dhidden);
  return dhidden;
}

at::Tensor MlpBlock::forward(const at::Tensor& input) {
  const RowSpace& space = pass_.query_space(layer_);
  hidden_ = weights_.mlp_in.forward(input);
  lora_.add(Role::MlpIn, space, input, in(hidden_));
  if (gated()) lora_.add(Role::MlpGate, space, input, gate(hidden_));
  const at::Tensor active = activate(hidden_);
  const at::Tensor out = weights_.mlp_out.forward(active);
  lora_.add(Role::MlpOut, space, active, out);
  if (lora_.has(Role::MlpIn) || lora_.has(Role::MlpGate)) input_ = input;
  if (lora_.has(Role::MlpOut)) active_ = active;
  return out;
}

at::Tensor MlpBlock::backward(const at::Tensor& dout, const at::Tensor& residual, GradientSink& sink) {
  const RowSpace& space = pass_.query_space(layer_);
  const at::Tensor dactive = weights_.mlp_out.input_gradient(dout);
  lora_.take(Role::MlpOut, space, active_, dout, dactive, sink);
  const at::Tensor dhidden = activate_backward(dactive);
  const at::Tensor dinput = weights_.mlp_in.input_gradient(dhidden, residual);
  lora_.take(Role::MlpIn, space, input_, in(dhidden), dinput, sink);
  if (gated()) lora_.take(Role::MlpGate, space, input_, gate(dhidden), dinput, sink);
  return dinput;
}

}  // namespace fltac
