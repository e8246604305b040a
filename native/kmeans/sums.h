// Sums over rows in double, each compiled for several instruction sets. Their order is fixed.
#pragma once

#include <cstdint>

namespace fltac {

// sum[j] += weight x[j] for j in [0, n).
void add_scaled(const float* x, double weight, int64_t n, double* sum);
void add_scaled(const double* x, double weight, int64_t n, double* sum);

// Columns [first, first + width) of rows. Those `ahead` values further, which are wanted next, are asked for
// meanwhile: a row's strip is left for the next row's, so what the processor reads ahead by itself ends
// there.
struct Strip {
  int64_t first, width, ahead;
};

// The same with weight 1 for kTogether rows, one after another, which are copied besides: sum[j] +=
// rows[r][first + j] and copies[r * stride + j] = rows[r][first + j]. The sums are read and written once for
// all of them.
constexpr int64_t kTogether = 4;
void add_and_copy(const float* const* rows, const Strip& strip, double* sum, float* copies, int64_t stride);
void add_and_copy(const float* const* rows, const Strip& strip, double* sum, double* copies, int64_t stride);

// Sum of (x[j] - y[j])^2.
double squared_distance(const float* x, const double* y, int64_t n);
// The same over kTogether rows x that lie `stride` apart.
double squared_distances(const float* x, int64_t stride, const double* y, int64_t n);

}  // namespace fltac
