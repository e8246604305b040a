#include "kmeans/quality.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/clones.h"

namespace fltac {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// (b - a) / the larger of both; 0 where both are 0.
double contrast(double a, double b) {
  const double larger = std::max(a, b);
  return larger > 0 ? (b - a) / larger : 0.0;
}

// out[j] = weight[j] |x - x_j| from x's inner products with all points, `row`, and x's own norm.
FLTAC_CLONES void weighted_distances(const double* row, double norm2, const double* diagonal,
                                     const double* weight, int64_t n, double* out) {
  for (int64_t j = 0; j < n; ++j) {
    const double squared = norm2 + diagonal[j] - 2.0 * row[j];
    out[j] = weight[j] * std::sqrt(squared > 0.0 ? squared : 0.0);
  }
}

std::vector<double> diagonal_of(const GramPoints& points) {
  std::vector<double> diagonal(static_cast<size_t>(points.n));
  for (int64_t i = 0; i < points.n; ++i)
    diagonal[static_cast<size_t>(i)] = points.gram[static_cast<size_t>(i * (points.n + 1))];
  return diagonal;
}

}  // namespace

void set_margins(Quality& quality) {
  quality.margin.resize(quality.next.size());
  for (size_t i = 0; i < quality.next.size(); ++i) {
    quality.margin[i] = contrast(quality.own[i], quality.next[i]);
  }
}

std::vector<double> silhouettes(const GramPoints& points, int64_t k, std::span<const int32_t> labels) {
  const int64_t n = points.n;
  const std::vector<double> total = cluster_weights(points, k, labels), diagonal = diagonal_of(points);
  std::vector<double> result(static_cast<size_t>(n));
  at::parallel_for(0, n, 16, [&](int64_t begin, int64_t end) {
    std::vector<double> distance(static_cast<size_t>(n)), sum(static_cast<size_t>(k));
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      const auto own = static_cast<size_t>(labels[at]);
      // Points that count more than once lie at distance 0 from themselves.
      if (total[own] < 1.5) continue;
      weighted_distances(points.gram.data() + i * n, diagonal[at], diagonal.data(), points.weight.data(), n,
                         distance.data());
      distance[at] = 0;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t j = 0; j < n; ++j)
        sum[static_cast<size_t>(labels[static_cast<size_t>(j)])] += distance[static_cast<size_t>(j)];
      double other = kInfinity;
      for (size_t c = 0; c < sum.size(); ++c) {
        if (c != own && total[c] > 0) other = std::min(other, sum[c] / total[c]);
      }
      result[at] = contrast(sum[own] / (total[own] - 1.0), other);
    }
  });
  return result;
}

double mean_silhouette(const GramPoints& points, std::span<const double> silhouette) {
  double sum = 0, total = 0;
  for (size_t i = 0; i < silhouette.size(); ++i) {
    sum += points.weight[i] * silhouette[i];
    total += points.weight[i];
  }
  return sum / total;
}

Quality judge(const GramPoints& points, int64_t k, std::span<const int32_t> labels) {
  const int64_t n = points.n;
  const GramCentroids centroids = means_in_gram(points, k, labels);
  const std::vector<double> total = cluster_weights(points, k, labels), diagonal = diagonal_of(points);
  const auto used = std::count_if(total.begin(), total.end(), [](double weight) { return weight > 0; });
  Quality quality;
  quality.own.resize(static_cast<size_t>(n));
  if (used > 1) quality.next.assign(static_cast<size_t>(n), kInfinity);
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    for (int64_t c = 0; c < k; ++c) {
      if (!(total[static_cast<size_t>(c)] > 0)) continue;
      const double squared = diagonal[at] - 2.0 * centroids.dot[static_cast<size_t>(c * n + i)] +
                             centroids.norm2[static_cast<size_t>(c)];
      const double distance = std::sqrt(std::max(0.0, squared));
      if (c == labels[at]) {
        quality.own[at] = distance;
      } else {
        quality.next[at] = std::min(quality.next[at], distance);
      }
    }
  }
  set_margins(quality);
  if (used > 1) quality.silhouette = silhouettes(points, k, labels);
  return quality;
}

}  // namespace fltac
