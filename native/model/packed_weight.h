// A frozen float32 weight laid out once for products with many rows, and those products.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace fltac {

// B [inner, columns], held as panels of 32 columns ([panels, inner, 32], the last padded with zeros), so that
// a product reads it from beginning to end.
//
// Each value of a product is one chain of fused multiply-adds in the order of B's rows: its bits depend
// neither on the other rows of the call nor on the number of threads.
class PackedWeight {
 public:
  // Whether this machine has the product's instructions (AVX-512). At BERT's shapes it ran at 1.05 to 1.3
  // times the rate of oneDNN's and MKL's there (docs/performance.md).
  static bool available();

  PackedWeight() = default;
  // b is float32 on the CPU, with any strides.
  explicit PackedWeight(const at::Tensor& b);

  // out = x B + bias, or out += x B where `add` (and no bias is given). x [rows, inner] and out [rows,
  // columns] are float32 with rows at any stride; bias [columns] or undefined.
  void multiply(const at::Tensor& x, const at::Tensor& bias, bool add, const at::Tensor& out) const;

  int64_t columns() const { return columns_; }
  int64_t bytes() const { return panels_.defined() ? static_cast<int64_t>(panels_.nbytes()) : 0; }

 private:
  at::Tensor panels_;  // [panels, inner, 32]
  int64_t inner_ = 0, columns_ = 0;
};

}  // namespace fltac
