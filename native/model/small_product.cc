#include "model/small_product.h"

#include <algorithm>

#include "core/lanes.h"

namespace fltac {
namespace {

struct Operands {
  ProductShape shape;
  StridedMatrix a;
  RowMatrix b;
  bool add;
  float* c;
  int64_t c_stride;
};

#if defined(__GNUC__) && !defined(__clang__)
// Vectors wider than the baseline's stay within functions that are inlined into one another.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

// Rows [row, row + R) and columns [column, column + V W) of C, summed in registers.
template <int W, int R, int V>
__attribute__((always_inline)) inline void block(const Operands& o, int64_t row, int64_t column) {
  using Values = Lanes<float, W>;
  Values sums[R][V] = {};
  const float* a = o.a.data + row * o.a.row;
  const float* b = o.b.data + column;
  for (int64_t j = 0; j < o.shape.k; ++j, a += o.a.column, b += o.b.stride) {
    Values loaded[V];
    for (int v = 0; v < V; ++v) loaded[v] = *reinterpret_cast<const Values*>(b + v * W);
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * o.a.row];
      for (int v = 0; v < V; ++v) sums[r][v] += factor * loaded[v];
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      auto* out = reinterpret_cast<Values*>(o.c + (row + r) * o.c_stride + column + v * W);
      *out = o.add ? *out + sums[r][v] : sums[r][v];
    }
  }
}

// All rows of the columns [column, column + V W): B's columns are read from a near cache for every block of
// rows.
template <int W, int V>
__attribute__((always_inline)) inline void columns(const Operands& o, int64_t column) {
  int64_t row = 0;
  for (; row + 6 <= o.shape.m; row += 6) block<W, 6, V>(o, row, column);
  if (row + 4 <= o.shape.m) {
    block<W, 4, V>(o, row, column);
    row += 4;
  }
  if (row + 2 <= o.shape.m) {
    block<W, 2, V>(o, row, column);
    row += 2;
  }
  if (row < o.shape.m) block<W, 1, V>(o, row, column);
}

template <int W>
__attribute__((always_inline)) inline void product(const Operands& o) {
  int64_t column = 0;
  for (; column + 2 * W <= o.shape.n; column += 2 * W) columns<W, 2>(o, column);
  for (; column + W <= o.shape.n; column += W) columns<W, 1>(o, column);
  for (; column < o.shape.n; ++column) columns<1, 1>(o, column);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void product_plain(const Operands& o) { product<4>(o); }
#if FLTAC_X86
FLTAC_TARGET_AVX2 void product_avx2(const Operands& o) { product<8>(o); }
FLTAC_TARGET_AVX512 void product_avx512(const Operands& o) { product<16>(o); }
#endif

}  // namespace

void small_product(const ProductShape& shape, const StridedMatrix& a, const RowMatrix& b, bool add, float* c,
                   int64_t c_stride) {
  const Operands o{shape, a, b, add, c, c_stride};
  switch (vector_bytes()) {
#if FLTAC_X86
    case VectorBytes::k64:
      return product_avx512(o);
    case VectorBytes::k32:
      return product_avx2(o);
#endif
    default:
      return product_plain(o);
  }
}

}  // namespace fltac
