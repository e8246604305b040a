#include "model/linear.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <utility>

#include "core/lanes.h"
#include "model/weight_type.h"

namespace fltac {
namespace {

// libtorch offers these products to its own compiler (torch.compile) only by name.
at::IValue call(const char* name, torch::jit::Stack stack) {
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(stack);
  return std::move(stack.front());
}

// On x86 oneDNN's float32 products were faster than those of libtorch's BLAS with AVX-512, and 8 to 15 %
// slower (cycles of whole training steps) with AVX2 alone. By the instructions and not by a measurement, so
// that a machine gives the same bits every time.
bool onednn_is_faster() { return !FLTAC_X86 || vector_bytes() == VectorBytes::k64; }

bool have_onednn() {
  static const bool found = [] {
    if (!onednn_is_faster()) return false;
    if (!at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn()) return false;
    for (const char* name :
         {"mkldnn::_linear_pointwise", "mkldnn::_reorder_linear_weight", "mkldnn::_nbytes"}) {
      if (!c10::Dispatcher::singleton().findSchema({name, ""}).has_value()) return false;
    }
    return true;
  }();
  return found;
}

// Rows that the layout is chosen for; it serves any number.
constexpr int64_t kTypicalRows = 1024;

at::Tensor pack(const at::Tensor& weight) {
  return call("mkldnn::_reorder_linear_weight", {weight, std::optional<int64_t>(kTypicalRows)}).toTensor();
}

// oneDNN pads its layouts to whole blocks.
int64_t packed_bytes(const at::Tensor& packed) { return call("mkldnn::_nbytes", {packed}).toInt(); }

// x W^T + b by oneDNN, W packed or plain; all of one type, b may be float32.
at::Tensor onednn_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return call("mkldnn::_linear_pointwise",
              {x, weight, bias.defined() ? std::optional(bias) : std::nullopt, std::string("none"),
               c10::List<std::optional<at::Scalar>>(), std::optional<std::string>("")})
      .toTensor();
}

}  // namespace

const char* linear_path() { return have_onednn() ? "onednn" : "blas"; }

Linear::Product Linear::product_for(const WeightForm& form) {
  if (form.device.memory.is_cuda()) return Product::Cuda;
  const bool has_kernel = form.dtype == at::kFloat || (form.dtype == at::kBFloat16 && cpu_has_bfloat16());
  return form.device.is_cpu() && has_kernel && have_onednn() ? Product::OneDnn : Product::Converted;
}

Linear::Linear(const at::Tensor& weight, const at::Tensor& bias, const WeightForm& form)
    : Linear(shared(weight, form)) {
  bias_ = bias;
  if (product_ == Product::OneDnn && form.both_layouts) {
    weight_ = pack(weight);
    weight_dx_ = pack(weight.t());
    bytes_ = packed_bytes(weight_) + packed_bytes(weight_dx_);
  } else {
    bytes_ = static_cast<int64_t>(weight.nbytes());
  }
  if (bias.defined()) bytes_ += static_cast<int64_t>(bias.nbytes());
}

Linear Linear::shared(const at::Tensor& weight, const WeightForm& form) {
  Linear linear;
  linear.product_ = product_for(form);
  linear.dtype_ = form.dtype;
  linear.weight_ = weight;
  linear.weight_dx_ = weight.t();
  return linear;
}

at::Tensor Linear::multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
  if (product_ == Product::OneDnn) return onednn_product(x.to(dtype_), weight, bias).to(at::kFloat);
  if (product_ == Product::Cuda && dtype_ != at::kFloat) {
    const at::Tensor y = at::mm(x.to(dtype_), weight.t(), at::kFloat);
    return bias.defined() ? y.add_(bias) : y;
  }
  const at::Tensor w = weight.to(at::kFloat).t();
  return bias.defined() ? at::addmm(bias, x, w) : x.mm(w);
}

at::Tensor Linear::forward(const at::Tensor& x) const { return multiply(x, weight_, bias_); }

at::Tensor Linear::input_gradient(const at::Tensor& dy) const { return multiply(dy, weight_dx_, {}); }

}  // namespace fltac
