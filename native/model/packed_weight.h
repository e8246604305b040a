// A frozen weight laid out once for products with many rows, and those products.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace fltac {

// B [inner, columns] of float32 or bfloat16, held as panels of 32 columns ([panels, inner, 32], the last
// padded with zeros), so that a product reads it from beginning to end; of bfloat16 two rows lie side by
// side.
//
// Each value of a product is one chain of fused multiply-adds in the order of B's rows, of bfloat16 one of
// pairs: its bits depend neither on the other rows of the call nor on the number of threads.
class PackedWeight {
 public:
  // Whether this machine has the product's instructions, and nothing faster. For float32 that is AVX-512: at
  // BERT's shapes it ran at 1.05 to 1.3 times the rate of oneDNN's and MKL's there (docs/performance.md). For
  // bfloat16 it is AVX512_BF16 without AMX, whose tiles oneDNN uses.
  static bool available(at::ScalarType dtype);

  PackedWeight() = default;
  // b is float32 or bfloat16 on the CPU, with any strides.
  explicit PackedWeight(const at::Tensor& b);

  // out = x B + bias, or out += x B where `add` (and no bias is given). x [rows, inner] and out [rows,
  // columns] are float32 with rows at any stride; bias [columns] is float32 or undefined. With a B of
  // bfloat16 x is rounded to it, and products are summed and given in float32;
  // values of either, and sums, below float32's normal ones count as 0.
  void multiply(const at::Tensor& x, const at::Tensor& bias, bool add, const at::Tensor& out) const;

  int64_t columns() const { return columns_; }
  int64_t bytes() const { return panels_.defined() ? static_cast<int64_t>(panels_.nbytes()) : 0; }

 private:
  at::Tensor panels_;  // [panels, words of a column, 32, values of a word]
  int64_t columns_ = 0;
};

}  // namespace fltac
