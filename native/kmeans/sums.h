// Sums over rows in double, each compiled for several instruction sets. Their order is fixed.
#pragma once

#include <cstdint>

namespace fltac {

// sum[j] += weight x[j] for j in [0, n).
void add_scaled(const float* x, double weight, int64_t n, double* sum);
void add_scaled(const double* x, double weight, int64_t n, double* sum);

// Sum of (x[j] - y[j])^2.
double squared_distance(const float* x, const double* y, int64_t n);

}  // namespace fltac
