#include "kmeans/sums.h"

#include <cstdint>
#include <numeric>

#include "core/clones.h"
#include "core/lanes.h"

namespace fltac {
namespace {

constexpr int64_t kSums = 8;  // interleaved sums, so that a loop vectorises in a fixed order

constexpr int64_t kLine = 16;  // float values of a cache line

// The address may lie behind the row: nothing is read.
[[gnu::always_inline]] inline void ask_for(const float* row, int64_t value) {
  const auto address = reinterpret_cast<uintptr_t>(row) + static_cast<uintptr_t>(value) * sizeof(float);
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 1);
}

// Written with vectors, since the compiler does not make them of a loop over so many arrays.
template <typename T>
[[gnu::always_inline]] inline void add_and_copy_four(const float* const* rows, const Strip& strip,
                                                     double* sum, T* copies, int64_t stride) {
  using Values = Lanes<float, kSums>;
  using Doubles = Lanes<double, kSums>;
  int64_t j = 0;
  for (; j + kLine <= strip.width; j += kLine) {
    for (int64_t r = 0; r < kTogether; ++r) ask_for(rows[r], strip.first + strip.ahead + j);
    for (int64_t at = j; at < j + kLine; at += kSums) {
      Doubles total = *reinterpret_cast<const Doubles*>(sum + at);
      for (int64_t r = 0; r < kTogether; ++r) {
        const Values x = *reinterpret_cast<const Values*>(rows[r] + strip.first + at);
        *reinterpret_cast<Lanes<T, kSums>*>(copies + r * stride + at) =
            __builtin_convertvector(x, Lanes<T, kSums>);
        total += __builtin_convertvector(x, Doubles);
      }
      *reinterpret_cast<Doubles*>(sum + at) = total;
    }
  }
  for (; j < strip.width; ++j) {
    for (int64_t r = 0; r < kTogether; ++r) {
      const float x = rows[r][strip.first + j];
      copies[r * stride + j] = x;
      sum[j] += x;
    }
  }
}

}  // namespace

FLTAC_CLONES void add_scaled(const float* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * static_cast<double>(x[j]);
}

FLTAC_CLONES void add_scaled(const double* x, double weight, int64_t n, double* sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += weight * x[j];
}

FLTAC_CLONES void add_and_copy(const float* const* rows, const Strip& strip, double* sum, float* copies,
                               int64_t stride) {
  add_and_copy_four(rows, strip, sum, copies, stride);
}

FLTAC_CLONES void add_and_copy(const float* const* rows, const Strip& strip, double* sum, double* copies,
                               int64_t stride) {
  add_and_copy_four(rows, strip, sum, copies, stride);
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
