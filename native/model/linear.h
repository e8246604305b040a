// A frozen linear module: the product of an activation with a weight that never changes.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/device.h"
#include "model/packed_weight.h"

namespace fltac {

// How the frozen weights of one device are held.
struct WeightForm {
  Device device;
  at::ScalarType dtype = at::kFloat;  // of products and embedding tables: float32, bfloat16 or float16
  bool both_layouts = true;           // whether a second copy of a product's weight may buy speed
  bool tf32 = false;                  // whether CUDA may round float32 factors to TF32

  at::TensorOptions matrix() const { return at::TensorOptions(dtype).device(device.memory); }
  // Biases and norms: float32 whatever the type.
  at::TensorOptions vector() const { return at::TensorOptions(at::kFloat).device(device.memory); }
};

// "packed", "onednn" or "blas": the float32 product that this CPU uses where a weight may be held twice: our
// own, or one of libtorch's.
const char* linear_path();

// "packed" or "onednn": the same of bfloat16, whose results oneDNN's rounds; null where bfloat16 weights are
// made float32 for each product.
const char* bfloat16_path();

// Float32 rows as float16 can hold them: each row times a power of two of its own, and the powers' inverses.
struct HalfRows {
  at::Tensor values;   // float16 [rows, n]
  at::Tensor inverse;  // float32 [rows, 1]: values inverse is x, but for rounding
};

// x float32 [rows, n], n > 0, scaled so that the largest value of each row is in [2^14, 2^15): values down to
// 2^-28 of it keep float16's precision. On x's device, for which the host does not wait. Not finite stays so.
HalfRows half_rows(const at::Tensor& x);

// y = x W^T + b with W [outputs, inputs] in the form's type, b [outputs], x and y float32.
//
// With both_layouts W is laid out once for a product's kernels, for either direction, at the price of a
// second copy; else the one plain copy is read. On a CPU with AVX-512 float32 goes through our own product
// (PackedWeight), or with one copy through oneDNN's; on other x86 through BLAS, which was faster there than
// oneDNN; elsewhere through oneDNN. bfloat16 goes the same ways where the CPU has instructions for it (with
// AMX always through oneDNN): x is rounded to bfloat16 and products are summed in float32. Through oneDNN y
// is rounded to bfloat16, too: libtorch's gives results in the type of x only. Everything else on the CPU,
// float16 above all, for which it has no product worth using, is held as it is and made float32 for each
// product.
//
// On CUDA x is rounded to W's type, and products are summed and given in float32; gradients, most of which
// float16 would make zero, go to it as half_rows. With float32 weights and the form's tf32 the tensor cores
// round both factors to 10 bits of mantissa; no other product of the engine does.
class Linear {
 public:
  Linear() = default;
  // An undefined bias means none.
  Linear(const at::Tensor& weight, const at::Tensor& bias, const WeightForm& form);
  // Without bias, and reading `weight` as it is: for weights that something else reads too.
  static Linear shared(const at::Tensor& weight, const WeightForm& form);

  // x [rows, inputs] -> [rows, outputs]; x may have any row stride.
  at::Tensor forward(const at::Tensor& x) const;
  // dy [rows, outputs] -> dx = dy W [rows, inputs].
  at::Tensor input_gradient(const at::Tensor& dy) const;
  // The same, added to `sum` in place; `sum` itself where it is defined.
  at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& sum) const;

  // Bytes that are held for this module alone.
  int64_t bytes() const { return bytes_; }

 private:
  enum class Product : uint8_t { Packed, OneDnn, Converted, Cuda };
  static Product product_for(const WeightForm& form, bool packs);

  at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;

  Product product_ = Product::Converted;
  at::ScalarType dtype_ = at::kFloat;
  bool tf32_ = false;
  // W and W^T, each a view of one plain copy or a copy in oneDNN's own layout; or both packed.
  at::Tensor weight_, weight_dx_;
  PackedWeight packed_, packed_dx_;
  at::Tensor bias_;
  int64_t bytes_ = 0;
};

}  // namespace fltac
