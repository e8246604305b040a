#include "kmeans/sums.h"

#include <numeric>

#include "core/clones.h"

namespace fltac {

FLTAC_CLONES void add_scaled(const float* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * static_cast<double>(x[j]);
}

FLTAC_CLONES void add_scaled(const double* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * x[j];
}

// In eight interleaved sums, so that it vectorises in a fixed order.
FLTAC_CLONES double squared_distance(const float* x, const double* y, int64_t n) {
  constexpr int64_t kSums = 8;
  double sum[kSums] = {};
  int64_t j = 0;
  for (; j + kSums <= n; j += kSums) {
    for (int64_t l = 0; l < kSums; ++l) {
      const double d = static_cast<double>(x[j + l]) - y[j + l];
      sum[l] += d * d;
    }
  }
  for (; j < n; ++j) {
    const double d = static_cast<double>(x[j]) - y[j];
    sum[0] += d * d;
  }
  return std::accumulate(sum, sum + kSums, 0.0);
}

}  // namespace fltac
