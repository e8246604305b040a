// A frozen linear module: the product of an activation with a weight that never changes.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace fltac {

// y = x W^T + b with W [outputs, inputs] and b [outputs], float32. Where libtorch has oneDNN, W is laid out
// once for its kernels, for either direction of the product: on the machine of docs/performance.md they
// run 1.3 times as fast as the BLAS product of the plain layout, for the price of a second copy.
// "onednn" or "blas": which product this libtorch offers.
const char* linear_path();

class Linear {
 public:
  Linear() = default;
  // An undefined bias means none.
  Linear(const at::Tensor& weight, const at::Tensor& bias);
  // Without bias, and reading `weight` as it is: for weights that something else reads too.
  static Linear shared(const at::Tensor& weight);

  // x [rows, inputs] -> [rows, outputs]; x may have any row stride.
  at::Tensor forward(const at::Tensor& x) const;
  // dy [rows, outputs] -> dx = dy W [rows, inputs].
  at::Tensor input_gradient(const at::Tensor& dy) const;

  // Bytes that are held for this module alone.
  int64_t bytes() const { return bytes_; }

 private:
  at::Tensor weight_;              // plain; undefined where the two below hold it
  at::Tensor packed_, packed_dx_;  // oneDNN's own layouts of W and W^T
  at::Tensor bias_;
  int64_t bytes_ = 0;
};

}  // namespace fltac
