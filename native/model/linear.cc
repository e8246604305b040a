#include "model/linear.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <limits>
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

// oneDNN compiles a kernel for every number of rows; batches without padding have a new one each time.
constexpr int64_t kRowStep = 64;

// The same for float32 x and a weight of another type: x is rounded to it, and so is the product.
at::Tensor rounded_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), more = rows < kRowStep ? 0 : (kRowStep - rows % kRowStep) % kRowStep;
  const at::Tensor half = at::empty({rows + more, x.size(1)}, weight.options().layout(at::kStrided));
  half.narrow(0, 0, rows).copy_(x);
  half.narrow(0, rows, more).zero_();
  return onednn_product(half, weight, bias).narrow(0, 0, rows).to(at::kFloat);
}

// cuBLAS may use TF32 for what is handed to it while this lives, where `on`; else it is left as it is. The
// setting is the process's, which computes on one thread.
class Tf32 {
 public:
  explicit Tf32(bool on) : on_(on && !at::globalContext().allowTF32CuBLAS()) {
    if (on_) at::globalContext().setAllowTF32CuBLAS(true);
  }
  Tf32(const Tf32&) = delete;
  Tf32& operator=(const Tf32&) = delete;
  ~Tf32() {
    if (on_) at::globalContext().setAllowTF32CuBLAS(false);
  }

 private:
  bool on_;
};

// Float32's exponents are stored with this added.
constexpr int64_t kExponentBias = 127, kMantissaBits = 23;

// 2^(exponents - bias), exactly, of int32 in [1, 254].
at::Tensor powers_of_two(const at::Tensor& exponents) {
  return exponents.bitwise_left_shift(kMantissaBits).view(at::kFloat);
}

}  // namespace

HalfRows half_rows(const at::Tensor& x) {
  constexpr int64_t kLargest = 14;  // float16 ends below 2^16
  const at::Tensor largest = at::linalg_vector_norm(x, std::numeric_limits<double>::infinity(), {1}, true);
  const at::Tensor stored = largest.view(at::kInt).bitwise_right_shift(kMantissaBits);
  // Both a power and its inverse must be normal numbers.
  const at::Tensor exponents =
      stored.neg().add_(2 * kExponentBias + kLargest).clamp_(1, 2 * kExponentBias - 1);
  return {(x * powers_of_two(exponents)).to(at::kHalf),
          powers_of_two(exponents.neg().add_(2 * kExponentBias))};
}

const char* linear_path() {
  if (PackedWeight::available(at::kFloat)) return "packed";
  return have_onednn() ? "onednn" : "blas";
}

const char* bfloat16_path() {
  if (PackedWeight::available(at::kBFloat16)) return "packed";
  return cpu_has_bfloat16() && have_onednn() ? "onednn" : nullptr;
}

Linear::Product Linear::product_for(const WeightForm& form, bool packs) {
  if (form.device.memory.is_cuda()) return Product::Cuda;
  if (packs && form.device.is_cpu() && PackedWeight::available(form.dtype)) return Product::Packed;
  const bool has_kernel = form.dtype == at::kFloat || (form.dtype == at::kBFloat16 && cpu_has_bfloat16());
  return form.device.is_cpu() && has_kernel && have_onednn() ? Product::OneDnn : Product::Converted;
}

Linear::Linear(const at::Tensor& weight, const at::Tensor& bias, const WeightForm& form)
    : Linear(shared(weight, form)) {
  bias_ = bias;
  product_ = product_for(form, form.both_layouts);
  if (product_ == Product::Packed) {
    packed_ = PackedWeight(weight.t());
    packed_dx_ = PackedWeight(weight);
    weight_.reset();
    weight_dx_.reset();
    bytes_ = packed_.bytes() + packed_dx_.bytes();
  } else if (product_ == Product::OneDnn && form.both_layouts) {
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
  linear.product_ = product_for(form, false);
  linear.dtype_ = form.dtype;
  linear.tf32_ = form.tf32 && form.device.memory.is_cuda();
  linear.weight_ = weight;
  linear.weight_dx_ = weight.t();
  return linear;
}

at::Tensor Linear::multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
  if (product_ == Product::OneDnn) {
    return dtype_ == at::kFloat ? onednn_product(x, weight, bias) : rounded_product(x, weight, bias);
  }
  if (product_ == Product::Cuda && dtype_ != at::kFloat) {
    const at::Tensor y = at::mm(x.to(dtype_), weight.t(), at::kFloat);
    return bias.defined() ? y.add_(bias) : y;
  }
  const Tf32 rounding(tf32_);
  const at::Tensor w = weight.to(at::kFloat).t();
  return bias.defined() ? at::addmm(bias, x, w) : x.mm(w);
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  if (product_ != Product::Packed) return multiply(x, weight_, bias_);
  const at::Tensor y = at::empty({x.size(0), packed_.columns()}, x.options());
  packed_.multiply(x, bias_, false, y);
  return y;
}

at::Tensor Linear::input_gradient(const at::Tensor& dy) const {
  if (product_ == Product::Cuda && dtype_ == at::kHalf) {
    const HalfRows rows = half_rows(dy);
    return at::mm(rows.values, weight_dx_.t(), at::kFloat).mul_(rows.inverse);
  }
  if (product_ != Product::Packed) return multiply(dy, weight_dx_, {});
  const at::Tensor dx = at::empty({dy.size(0), packed_dx_.columns()}, dy.options());
  packed_dx_.multiply(dy, {}, false, dx);
  return dx;
}

at::Tensor Linear::input_gradient(const at::Tensor& dy, const at::Tensor& sum) const {
  if (!sum.defined()) return input_gradient(dy);
  if (product_ != Product::Packed) return sum.add_(input_gradient(dy));
  packed_dx_.multiply(dy, {}, true, sum);
  return sum;
}

}  // namespace fltac
