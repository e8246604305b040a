// k-means++ and Lloyd on weighted points that are known by their Gram matrix alone.
//
// A centroid is a weighted mean of points, so its inner products with all points and with itself are sums of
// Gram entries, and |x_i - c|^2 = G_ii - 2 <x_i, c> + <c, c>. No coordinate is needed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fltac {

struct GramPoints {
  int64_t n = 0;
  std::vector<double> gram;    // [n, n] inner products
  std::vector<double> weight;  // [n] how often each point counts
};

// Centroids as the points see them.
struct GramCentroids {
  GramCentroids(int64_t k, int64_t n) : dot(static_cast<size_t>(k * n)), norm2(static_cast<size_t>(k)) {}

  std::vector<double> dot;    // [k, n] <x_i, c>
  std::vector<double> norm2;  // [k] <c, c>
};

// Weighted means of the clusters of `labels` [n] (0..k-1); all zeros for a cluster without points.
GramCentroids means_in_gram(const GramPoints& points, int64_t k, std::span<const int32_t> labels);

// Total weight of each cluster: [k].
std::vector<double> cluster_weights(const GramPoints& points, int64_t k, std::span<const int32_t> labels);

struct LloydOptions {
  int64_t k = 0;  // less than n
  int64_t max_iter = 0;
  double tolerance = 0;  // least sum of the centroids' squared moves to go on
  bool exchange = true;  // whether exchange_points follows
  std::function<bool()> cancelled;
};

struct LloydResult {
  std::vector<int32_t> labels;  // [n], every cluster has a point
  double inertia = 0;           // around the means of the clusters
  int64_t iterations = 0;
  int64_t reseeded = 0;
  int64_t exchanged = 0;
};

// Candidates that greedy k-means++ draws for each centroid: 2 + floor(ln k), as scikit-learn.
int64_t candidates_for(int64_t k);

// Uniform values in (0, 1) that one start consumes.
int64_t draws_for(int64_t k);

// Index of the first point at which the running sum of `mass` reaches `target`, of those whose mass is not 0.
int64_t point_at(const std::vector<double>& mass, double target);

// Greedy k-means++ (Arthur and Vassilvitskii, 2007; the greedy form as scikit-learn has it): k point indices.
// `draws` holds draws_for(k) values.
std::vector<int64_t> choose_seeds(const GramPoints& points, int64_t k, std::span<const double> draws);

// One start: k-means++ with `draws`, then Lloyd, then exchanges.
LloydResult run_start(const GramPoints& points, const LloydOptions& options, std::span<const double> draws);

}  // namespace fltac
