#include "kmeans/sums.h"

#include <numeric>

#include "core/clones.h"

namespace fltac {
namespace {

constexpr int64_t kSums = 8;  // interleaved sums, so that a loop vectorises in a fixed order

template <typename T>
[[gnu::always_inline]] inline void add_and_copy_four(const float* const* rows, int64_t first, int64_t n,
                                                     double* sum, T* copies, int64_t stride) {
  // Restricted, or the compiler would have to check too many pairs of them for overlap to vectorise.
  const float* __restrict a = rows[0] + first, * __restrict b = rows[1] + first;
  const float* __restrict c = rows[2] + first, * __restrict d = rows[3] + first;
  T* __restrict of_a = copies, * __restrict of_b = copies + stride;
  T* __restrict of_c = copies + 2 * stride, * __restrict of_d = copies + 3 * stride;
  double* __restrict total = sum;
  for (int64_t j = 0; j < n; ++j) {
    const auto x = static_cast<double>(a[j]), y = static_cast<double>(b[j]);
    const auto z = static_cast<double>(c[j]), w = static_cast<double>(d[j]);
    of_a[j] = static_cast<T>(a[j]);
    of_b[j] = static_cast<T>(b[j]);
    of_c[j] = static_cast<T>(c[j]);
    of_d[j] = static_cast<T>(d[j]);
    total[j] = (((total[j] + x) + y) + z) + w;
  }
}

}  // namespace

FLTAC_CLONES void add_scaled(const float* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * static_cast<double>(x[j]);
}

FLTAC_CLONES void add_scaled(const double* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * x[j];
}

FLTAC_CLONES void add_and_copy(const float* const* rows, int64_t first, int64_t n, double* sum, float* copies,
                               int64_t stride) {
  add_and_copy_four(rows, first, n, sum, copies, stride);
}

FLTAC_CLONES void add_and_copy(const float* const* rows, int64_t first, int64_t n, double* sum,
                               double* copies, int64_t stride) {
  add_and_copy_four(rows, first, n, sum, copies, stride);
}

FLTAC_CLONES double squared_distance(const float* x, const double* y, int64_t n) {
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

FLTAC_CLONES double squared_distances(const float* x, int64_t stride, const double* y, int64_t n) {
  static_assert(kTogether == 4);
  const float *a = x, *b = x + stride, *c = x + 2 * stride, *d = x + 3 * stride;
  double sum[kSums] = {};
  int64_t j = 0;
  for (; j + kSums <= n; j += kSums) {
    for (int64_t l = 0; l < kSums; ++l) {
      const double of_a = static_cast<double>(a[j + l]) - y[j + l];
      const double of_b = static_cast<double>(b[j + l]) - y[j + l];
      const double of_c = static_cast<double>(c[j + l]) - y[j + l];
      const double of_d = static_cast<double>(d[j + l]) - y[j + l];
      sum[l] += (of_a * of_a + of_b * of_b) + (of_c * of_c + of_d * of_d);
    }
  }
  double rest = 0;
  for (int64_t r = 0; r < kTogether; ++r) rest += squared_distance(x + r * stride + j, y + j, n - j);
  return std::accumulate(sum, sum + kSums, rest);
}

}  // namespace fltac
