#include "model/linear.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <utility>

namespace fltac {
namespace {

// libtorch offers these products to its own compiler (torch.compile) only by name.
at::Tensor call(const char* name, torch::jit::Stack stack) {
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(stack);
  return std::move(stack.front()).toTensor();
}

bool have_onednn() {
  static const bool found =
      at::hasMKLDNN() && at::globalContext().userEnabledMkldnn() &&
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""}).has_value() &&
      c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_linear_weight", ""}).has_value();
  return found;
}

// Rows that the layout is chosen for; it serves any number.
constexpr int64_t kTypicalRows = 1024;

at::Tensor pack(const at::Tensor& weight) {
  return call("mkldnn::_reorder_linear_weight", {weight.contiguous(), std::optional<int64_t>(kTypicalRows)});
}

at::Tensor multiply(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias) {
  return call("mkldnn::_linear_pointwise",
              {x, packed, bias, std::string("none"), c10::List<std::optional<at::Scalar>>(),
               std::optional<std::string>("")});
}

}  // namespace

const char* linear_path() { return have_onednn() ? "onednn" : "blas"; }

Linear::Linear(const at::Tensor& weight, const at::Tensor& bias) : bias_(bias) {
  const auto weight_bytes = static_cast<int64_t>(weight.nbytes());
  bytes_ = (bias.defined() ? static_cast<int64_t>(bias.nbytes()) : 0) + weight_bytes;
  if (!have_onednn()) {
    weight_ = weight;
    return;
  }
  packed_ = pack(weight);
  packed_dx_ = pack(weight.t());
  bytes_ += weight_bytes;
}

Linear Linear::shared(const at::Tensor& weight) {
  Linear linear;
  linear.weight_ = weight;
  return linear;
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  if (!weight_.defined()) {
    return multiply(x, packed_, bias_.defined() ? std::optional(bias_) : std::nullopt);
  }
  return bias_.defined() ? at::addmm(bias_, x, weight_.t()) : x.mm(weight_.t());
}

at::Tensor Linear::input_gradient(const at::Tensor& dy) const {
  return weight_.defined() ? dy.mm(weight_) : multiply(dy, packed_dx_, std::nullopt);
}

}  // namespace fltac
