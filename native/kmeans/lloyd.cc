#include "kmeans/lloyd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/clones.h"
#include "kmeans/exchange.h"
#include "kmeans/gram.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Where the centroid with inner products `dot` is nearer than `least` says, writes its distance and label
// there.
FLTAC_CLONES void keep_nearest(const double* diagonal, const double* dot, double norm2, int32_t label,
                               int64_t n, double* least, int32_t* labels) {
  for (int64_t i = 0; i < n; ++i) {
    const double distance = diagonal[i] - 2.0 * dot[i] + norm2;
    labels[i] = distance < least[i] ? label : labels[i];
    least[i] = distance < least[i] ? distance : least[i];
  }
}

// out[c] += <centroid c, mean of the points labelled c>; `sums` are the clusters' weights.
void add_projections(const GramPoints& points, const GramCentroids& centroids,
                     std::span<const int32_t> labels, const std::vector<double>& sums,
                     std::vector<double>& out) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto c = static_cast<size_t>(labels[i]);
    out[c] += points.weight[i] / sums[c] * centroids.dot[c * labels.size() + i];
  }
}

class Lloyd {
 public:
  Lloyd(const GramPoints& points, const LloydOptions& options)
      : points_(points), options_(options), n_(points.n), k_(options.k), diagonal_(static_cast<size_t>(n_)) {
    for (int64_t i = 0; i < n_; ++i)
      diagonal_[static_cast<size_t>(i)] = points_.gram[static_cast<size_t>(i * (n_ + 1))];
  }

  LloydResult run(std::span<const double> draws) {
    GramCentroids centroids = at_points(choose_seeds(points_, k_, draws));
    LloydResult result;
    result.labels.assign(static_cast<size_t>(n_), -1);
    std::vector<int32_t> labels(static_cast<size_t>(n_));
    std::vector<double> distance(static_cast<size_t>(n_));
    bool repeated = false;
    while (!repeated && result.iterations < options_.max_iter) {
      stop_if_cancelled(options_.cancelled);
      ++result.iterations;
      assign(centroids, labels, distance);
      std::vector<int32_t> members = labels;
      result.reseeded += fill_empty(members, distance);
      GramCentroids moved = means_in_gram(points_, k_, members);
      const double shift = squared_moves(centroids, moved, members);
      centroids = std::move(moved);
      repeated = labels == result.labels;
      result.labels = labels;
      if (shift <= options_.tolerance) break;
    }
    if (!repeated) assign(centroids, result.labels, distance);
    result.reseeded += fill_empty(result.labels, distance);
    if (options_.exchange) {
      result.exchanged = exchange_points(points_, k_, options_.max_iter, options_.cancelled, result.labels);
    }
    result.inertia = inertia(result.labels);
    return result;
  }

 private:
  const double* row(int64_t i) const { return points_.gram.data() + i * n_; }

  GramCentroids at_points(const std::vector<int64_t>& seeds) const {
    GramCentroids centroids(k_, n_);
    for (size_t c = 0; c < seeds.size(); ++c) {
      std::copy_n(row(seeds[c]), n_, centroids.dot.begin() + static_cast<int64_t>(c) * n_);
      centroids.norm2[c] = diagonal_[static_cast<size_t>(seeds[c])];
    }
    return centroids;
  }

  // Nearest centroid of each point (the first of equals) and the squared distance to it, at least 0.
  void assign(const GramCentroids& centroids, std::vector<int32_t>& labels,
              std::vector<double>& distance) const {
    std::fill(distance.begin(), distance.end(), kInfinity);
    std::fill(labels.begin(), labels.end(), 0);
    for (int64_t c = 0; c < k_; ++c) {
      keep_nearest(diagonal_.data(), centroids.dot.data() + c * n_, centroids.norm2[static_cast<size_t>(c)],
                   static_cast<int32_t>(c), n_, distance.data(), labels.data());
    }
    for (double& d : distance) d = std::max(d, 0.0);
  }

  // Gives each empty cluster the farthest point (the first of equals) that shares its cluster with another,
  // as scikit-learn's _relocate_empty_clusters_dense but for that condition. Returns the number of clusters
  // filled.
  int64_t fill_empty(std::vector<int32_t>& labels, const std::vector<double>& distance) const {
    std::vector<int64_t> count(static_cast<size_t>(k_));
    for (const int32_t label : labels) ++count[static_cast<size_t>(label)];
    std::vector<int32_t> empty;
    for (int32_t c = 0; c < k_; ++c) {
      if (count[static_cast<size_t>(c)] == 0) empty.push_back(c);
    }
    if (empty.empty()) return 0;
    std::vector<size_t> order(labels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return distance[a] > distance[b]; });
    size_t filled = 0;
    for (auto i = order.begin(); i != order.end() && filled < empty.size(); ++i) {
      int64_t& left = count[static_cast<size_t>(labels[*i])];
      if (left < 2) continue;
      --left;
      labels[*i] = empty[filled++];
    }
    return static_cast<int64_t>(filled);
  }

  // Sum over clusters of |moved - before|^2, where `moved` are the means of `labels`.
  double squared_moves(const GramCentroids& before, const GramCentroids& moved,
                       const std::vector<int32_t>& labels) const {
    std::vector<double> product(static_cast<size_t>(k_));
    add_projections(points_, before, labels, cluster_weights(points_, k_, labels), product);
    double sum = 0;
    for (size_t c = 0; c < product.size(); ++c) {
      sum += std::max(0.0, moved.norm2[c] + before.norm2[c] - 2.0 * product[c]);
    }
    return sum;
  }

  double inertia(const std::vector<int32_t>& labels) const {
    const GramCentroids centroids = means_in_gram(points_, k_, labels);
    double sum = 0;
    for (size_t i = 0; i < labels.size(); ++i) {
      const auto c = static_cast<size_t>(labels[i]);
      const double distance =
          diagonal_[i] - 2.0 * centroids.dot[c * static_cast<size_t>(n_) + i] + centroids.norm2[c];
      sum += points_.weight[i] * std::max(0.0, distance);
    }
    return sum;
  }

  const GramPoints& points_;
  const LloydOptions& options_;
  int64_t n_, k_;
  std::vector<double> diagonal_;  // [n] <x_i, x_i>
};

}  // namespace

std::vector<double> cluster_weights(const GramPoints& points, int64_t k, std::span<const int32_t> labels) {
  std::vector<double> sums(static_cast<size_t>(k));
  for (size_t i = 0; i < labels.size(); ++i) sums[static_cast<size_t>(labels[i])] += points.weight[i];
  return sums;
}

GramCentroids means_in_gram(const GramPoints& points, int64_t k, std::span<const int32_t> labels) {
  GramCentroids centroids(k, points.n);
  const std::vector<double> sums = cluster_weights(points, k, labels);
  for (int64_t i = 0; i < points.n; ++i) {
    const auto at = static_cast<size_t>(i);
    const int32_t c = labels[at];
    add_scaled(points.gram.data() + i * points.n, points.weight[at] / sums[static_cast<size_t>(c)], points.n,
               centroids.dot.data() + c * points.n);
  }
  add_projections(points, centroids, labels, sums, centroids.norm2);
  return centroids;
}

int64_t candidates_for(int64_t k) { return 2 + static_cast<int64_t>(std::log(static_cast<double>(k))); }

int64_t draws_for(int64_t k) { return 1 + (k - 1) * candidates_for(k); }

int64_t point_at(const std::vector<double>& mass, double target) {
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < mass.size(); ++i) {
    sum += mass[i];
    if (!(mass[i] > 0)) continue;
    last = i;
    if (sum >= target) break;
  }
  return static_cast<int64_t>(last);
}

std::vector<int64_t> choose_seeds(const GramPoints& points, int64_t k, std::span<const double> draws) {
  const auto n = static_cast<size_t>(points.n);
  const auto gram = [&](size_t i, size_t j) { return points.gram[i * n + j]; };
  const int64_t candidates = candidates_for(k);
  std::vector<double> nearest(n, kInfinity), mass = points.weight, trial(n), best(n);
  double total = std::accumulate(mass.begin(), mass.end(), 0.0);
  std::vector<int64_t> seeds;
  size_t draw = 0;
  while (static_cast<int64_t>(seeds.size()) < k) {
    const int64_t tries = seeds.empty() ? 1 : candidates;
    double least = kInfinity;
    int64_t chosen = 0;
    for (int64_t t = 0; t < tries; ++t) {
      const int64_t candidate = point_at(mass, draws[draw++] * total);
      const auto s = static_cast<size_t>(candidate);
      double potential = 0;
      for (size_t i = 0; i < n; ++i) {
        const double distance = gram(i, i) - 2.0 * gram(s, i) + gram(s, s);
        trial[i] = i == s ? 0.0 : std::min(nearest[i], std::max(0.0, distance));
        potential += points.weight[i] * trial[i];
      }
      if (potential >= least) continue;
      least = potential;
      chosen = candidate;
      std::swap(best, trial);
    }
    seeds.push_back(chosen);
    nearest = best;
    for (size_t i = 0; i < n; ++i) mass[i] = points.weight[i] * nearest[i];
    total = least;
  }
  return seeds;
}

LloydResult run_start(const GramPoints& points, const LloydOptions& options, std::span<const double> draws) {
  return Lloyd(points, options).run(draws);
}

}  // namespace fltac
