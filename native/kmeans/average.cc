#include "kmeans/average.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/clones.h"
#include "core/error.h"
#include "kmeans/gram.h"

namespace fltac {
namespace {

constexpr int64_t kStrip = 512;  // columns handled at once; a strip's sums and rows stay in cache

// sum[j] += weight x[j] over a strip.
FLTAC_CLONES void add_scaled(const float* x, double weight, int64_t width, double* sum) {
  for (int64_t j = 0; j < width; ++j) sum[j] += weight * static_cast<double>(x[j]);
}

// mean[j] *= scale, rounded to out[j]; false if one is not finite.
FLTAC_CLONES bool scale_and_round(double scale, int64_t width, double* mean, float* out) {
  double check = 0;
  for (int64_t j = 0; j < width; ++j) {
    mean[j] *= scale;
    check += mean[j] * 0.0;
    out[j] = static_cast<float>(mean[j]);
  }
  return check == 0.0;
}

// Sum of (x[j] - mean[j])^2 over a strip, in eight interleaved sums so that it vectorises in a fixed order.
FLTAC_CLONES double squared_distance(const float* x, const double* mean, int64_t width) {
  constexpr int64_t kSums = 8;
  double sum[kSums] = {};
  int64_t j = 0;
  for (; j + kSums <= width; j += kSums) {
    for (int64_t l = 0; l < kSums; ++l) {
      const double d = static_cast<double>(x[j + l]) - mean[j + l];
      sum[l] += d * d;
    }
  }
  for (; j < width; ++j) {
    const double d = static_cast<double>(x[j]) - mean[j];
    sum[0] += d * d;
  }
  return std::accumulate(sum, sum + kSums, 0.0);
}

int64_t strips_of(int64_t columns) { return (columns + kStrip - 1) / kStrip; }

double checked_total(std::span<const double> weights) {
  double total = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] < 0) {
      fail(ErrorCode::Usage, "weight ", i, " of an average must be finite and not negative, found ",
           weights[i]);
    }
    total += weights[i];
  }
  if (!(total > 0) || !std::isfinite(total)) {
    fail(ErrorCode::Usage, "the weights of an average must have a positive, finite sum, found ", total);
  }
  return total;
}

[[noreturn]] void fail_in_strip(std::span<const float* const> rows, int64_t columns, int64_t strip) {
  const int64_t end = std::min(columns, (strip + 1) * kStrip);
  for (int64_t column = strip * kStrip; column < end; ++column) {
    for (const float* x : rows) {
      if (!std::isfinite(x[column])) fail_non_finite(rows, column);
    }
  }
  fail(ErrorCode::NonFinite, "an average overflows within columns ", strip * kStrip, " to ", end - 1,
       ": its weights are too large");
}

}  // namespace

void weighted_average(std::span<const float* const> rows, int64_t columns, std::span<const double> weights,
                      float* out) {
  if (rows.empty()) fail(ErrorCode::Usage, "an average needs one row or more, found none");
  if (weights.size() != rows.size()) {
    fail(ErrorCode::Usage, "an average needs one weight a row: found ", weights.size(), " weights for ",
         rows.size(), " rows");
  }
  const double scale = 1.0 / checked_total(weights);
  std::atomic<int64_t> bad{std::numeric_limits<int64_t>::max()};
  at::parallel_for(0, strips_of(columns), 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = s * kStrip, width = std::min(kStrip, columns - first);
      double sum[kStrip] = {};
      for (size_t i = 0; i < rows.size(); ++i) add_scaled(rows[i] + first, weights[i], width, sum);
      const bool finite = scale_and_round(scale, width, sum, out + first);
      int64_t seen = bad.load();
      while (!finite && s < seen && !bad.compare_exchange_weak(seen, s)) {
      }
    }
  });
  if (bad.load() < strips_of(columns)) fail_in_strip(rows, columns, bad.load());
}

double cluster_means(std::span<const float* const> rows, int64_t columns, std::span<const int32_t> labels,
                     int64_t k, float* centroids) {
  std::vector<double> count(static_cast<size_t>(k));
  for (const int32_t label : labels) count[static_cast<size_t>(label)] += 1;
  std::vector<double> inertia(static_cast<size_t>(strips_of(columns)));
  at::parallel_for(0, strips_of(columns), 1, [&](int64_t begin, int64_t end) {
    std::vector<double> mean(static_cast<size_t>(k * kStrip));
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = s * kStrip, width = std::min(kStrip, columns - first);
      std::fill(mean.begin(), mean.end(), 0.0);
      for (size_t i = 0; i < rows.size(); ++i)
        add_scaled(rows[i] + first, 1.0, width, mean.data() + labels[i] * kStrip);
      for (int64_t c = 0; c < k; ++c) {
        const double members = count[static_cast<size_t>(c)];
        if (members > 0)
          scale_and_round(1.0 / members, width, mean.data() + c * kStrip, centroids + c * columns + first);
      }
      double sum = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        sum += squared_distance(rows[i] + first, mean.data() + labels[i] * kStrip, width);
      }
      inertia[static_cast<size_t>(s)] = sum;
    }
  });
  return std::accumulate(inertia.begin(), inertia.end(), 0.0);
}

}  // namespace fltac
