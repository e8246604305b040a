// Products of matrices that lie in a core's own caches, as attention has them: too small to pay for a BLAS
// call.
#pragma once

#include <cstdint>

namespace fltac {

// A [m, k] with any strides; element (i, j) is data[i row + j column]. A transposed matrix is the same memory
// with the strides exchanged.
struct StridedMatrix {
  const float* data;
  int64_t row, column;
};

// Row-major [k, n] or [m, n] with rows `stride` values apart.
struct RowMatrix {
  const float* data;
  int64_t stride;
};

struct ProductShape {
  int64_t m, n, k;
};

// C = A B, or C += A B where `add`; c has rows c_stride apart. Single-threaded. Fastest where n is a multiple
// of 16.
void small_product(const ProductShape& shape, const StridedMatrix& a, const RowMatrix& b, bool add, float* c,
                   int64_t c_stride);

}  // namespace fltac
