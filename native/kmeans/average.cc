#include "kmeans/average.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/clones.h"
#include "core/error.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

constexpr int64_t kStrip = 1024;  // columns handled at once; a strip's sums and rows stay in cache

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

// Names the first row that is not finite in `column`.
[[noreturn]] void fail_row(std::span<const float* const> rows, int64_t column) {
  std::vector<float> values;
  for (const float* x : rows) values.push_back(x[column]);
  fail_non_finite(RowSet(rows, column + 1), values, column);
}

[[noreturn]] void fail_in_strip(std::span<const float* const> rows, int64_t columns, int64_t strip) {
  const int64_t end = std::min(columns, (strip + 1) * kStrip);
  for (int64_t column = strip * kStrip; column < end; ++column) {
    for (const float* x : rows) {
      if (!std::isfinite(x[column])) fail_row(rows, column);
    }
  }
  fail(ErrorCode::NonFinite, "an average overflows within columns ", strip * kStrip, " to ", end - 1,
       ": its weights are too large");
}

// The rows of each of k clusters, in order.
std::vector<std::vector<size_t>> members_of(std::span<const int32_t> labels, int64_t k) {
  std::vector<std::vector<size_t>> members(static_cast<size_t>(k));
  for (size_t i = 0; i < labels.size(); ++i) members[static_cast<size_t>(labels[i])].push_back(i);
  return members;
}

// One cluster's means over columns [first, first + width), rounded to `out`; returns the sum of squared
// distances to them. Rows are read from where they lie once: they may be a large power of two apart, where
// those read first leave the cache before the last is. `seen` holds one strip of each.
double means_of_strip(const ColumnBlock& block, const std::vector<size_t>& members, int64_t first,
                      int64_t width, std::vector<float>& seen, float* out) {
  double mean[kStrip] = {};
  const size_t count = members.size();
  seen.resize(count * kStrip);
  size_t m = 0;
  for (; m + kTogether <= count; m += kTogether) {
    const float* rows[kTogether];
    for (size_t r = 0; r < kTogether; ++r) rows[r] = block.rows[members[m + r]];
    add_and_copy(rows, {first, width, kStrip}, mean, seen.data() + m * kStrip, kStrip);
  }
  for (; m < count; ++m) {
    float* row = seen.data() + m * kStrip;
    std::copy_n(block.rows[members[m]] + first, width, row);
    add_scaled(row, 1.0, width, mean);
  }
  scale_and_round(1.0 / static_cast<double>(count), width, mean, out);
  double inertia = 0;
  for (m = 0; m + kTogether <= count; m += kTogether)
    inertia += squared_distances(seen.data() + m * kStrip, kStrip, mean, width);
  for (; m < count; ++m) inertia += squared_distance(seen.data() + m * kStrip, mean, width);
  return inertia;
}

// The means over one block of columns, written to rows of centroids that are `ld` apart, and the sum of
// squared distances to them by strip.
std::vector<double> means_of_block(const ColumnBlock& block, int64_t width,
                                   const std::vector<std::vector<size_t>>& members, float* centroids,
                                   int64_t ld) {
  std::vector<double> inertia(static_cast<size_t>(strips_of(width)));
  at::parallel_for(0, strips_of(width), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> seen;
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = s * kStrip, here = std::min(kStrip, width - first);
      for (size_t c = 0; c < members.size(); ++c) {
        if (members[c].empty()) continue;
        inertia[static_cast<size_t>(s)] += means_of_strip(block, members[c], first, here, seen,
                                                          centroids + static_cast<int64_t>(c) * ld + first);
      }
    }
  });
  return inertia;
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

double cluster_means(const RowSet& rows, std::span<const int32_t> labels, int64_t k, float* centroids) {
  const std::vector<std::vector<size_t>> members = members_of(labels, k);
  double inertia = 0;
  for (int64_t first = 0; first < rows.columns(); first += rows.block_columns()) {
    const int64_t width = std::min(rows.block_columns(), rows.columns() - first);
    const std::vector<double> strips =
        means_of_block(rows.read(first, width), width, members, centroids + first, rows.columns());
    // One by one, so that the sum is the same however many columns a block has.
    for (const double strip : strips) inertia += strip;
  }
  return inertia;
}

}  // namespace fltac
