// Inner products of rows with each other: the one kernel behind every Gram matrix.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fltac {

// Rows are handled in strips: ranges begin at a multiple of this, and a buffer for n rows holds
// padded_rows(n), of which those from n on may hold anything.
constexpr int64_t kRowStrip = 12;
constexpr int64_t padded_rows(int64_t n) { return (n + kRowStrip - 1) / kRowStrip * kRowStrip; }

// Columns of one call of add_products, at most, which are 4 KiB of a row. With fewer a product's lanes are
// summed up more often (at 2 KiB of float32 that took a tenth of the time); with more, the four rows of b
// that a strip of tiles shares, 16 KiB now, would leave level-1 cache.
template <typename T>
constexpr int64_t kProductColumns = 4096 / static_cast<int64_t>(sizeof(T));

// Columns are a multiple of this: zeros fill up those that are not there.
constexpr int64_t kProductStep = 16;
constexpr int64_t padded_columns(int64_t width) {
  return (width + kProductStep - 1) / kProductStep * kProductStep;
}

// Distance between two rows of a buffer of T: not a power of two, so that rows do not compete for the same
// places of the cache.
template <typename T>
constexpr int64_t kProductStride = kProductColumns<T> + 64 / static_cast<int64_t>(sizeof(T));

struct RowRange {
  int64_t begin;
  int64_t end;
};

// out[i * out_ld + j] += <row i of a, row j of b> for i in `is`, j in `js`, over `width` columns (a multiple
// of kProductStep, at most kProductColumns<T>). a and b are row-major with rows kProductStride<T> apart. With
// `upper`, entries of tiles that lie wholly below the diagonal (j < i) are left out. The order of summation
// is fixed, and the same for every pair of rows: equal rows give equal products to the last bit.
//
// |error| <= product_roundings<T>() eps sum |a_ic b_jc| to first order in eps, the unit roundoff of T
// (1.1e-16 in double, 6.0e-8 in float); the sum is then added to `out` in double. In float, a product may
// also lose 2^-149 by underflow, and overflow to infinity.
void add_products(const double* a, RowRange is, const double* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld);
void add_products(const float* a, RowRange is, const float* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld);

// Roundings that a product and its way through one sum of kProductColumns<T> columns meet on this machine.
template <typename T>
int64_t product_roundings();

}  // namespace fltac
