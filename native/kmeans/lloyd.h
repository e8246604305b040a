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

// Greedy k-means++ (Arthur and Vassilvitskii, 2007; the greedy form as scikit-learn has it): k point indices.
// `draws` holds draws_for(k) values.
std::vector<int64_t> choose_seeds(const GramPoints& points, int64_t k, std::span<const double> draws);

// One start: k-means++ with `draws`, then Lloyd, then exchanges.
LloydResult run_start(const GramPoints& points, const LloydOptions& options, std::span<const double> draws);

}  // namespace fltac
