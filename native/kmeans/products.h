// Inner products of rows with each other, in double: the one kernel behind every Gram matrix.
#pragma once

#include <cstdint>

namespace fltac {

// Rows are handled in strips: ranges begin at a multiple of this, and a buffer for n rows holds
// padded_rows(n), of which those from n on may hold anything.
constexpr int64_t kRowStrip = 12;
constexpr int64_t padded_rows(int64_t n) { return (n + kRowStrip - 1) / kRowStrip * kRowStrip; }

// Columns of one call of add_products: a strip of rows stays in level-1 cache.
constexpr int64_t kProductColumns = 512;

// Distance between two rows of a buffer: not a power of two, so that rows do not compete for the same places
// of the cache.
constexpr int64_t kProductStride = kProductColumns + 8;

struct RowRange {
  int64_t begin;
  int64_t end;
};

// out[i * out_ld + j] += <row i of a, row j of b> for i in `is`, j in `js`, over `width` columns (a multiple
// of 8, at most kProductColumns). a and b are row-major with rows kProductStride apart. With `upper`, entries
// of tiles that lie wholly below the diagonal (j < i) are left out. The order of summation is fixed.
//
// |error| <= (width / lanes + lanes) eps sum |a_ic b_jc| with eps = 1.1e-16 and lanes = 2, 4 or 8.
void add_products(const double* a, RowRange is, const double* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld);

}  // namespace fltac
