// K-means written down plainly, on coordinates in double: what native/kmeans must agree with. Same rules as
// native/kmeans/kmeans.h, same random draws, no Gram matrix.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <vector>

namespace fltac::test {

using Point = std::vector<double>;

inline double squared_distance(const Point& a, const Point& b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

// Means of the labelled points; an empty cluster keeps the centroid it had.
inline void move_to_means(const std::vector<Point>& points, const std::vector<int32_t>& labels,
                          std::vector<Point>& centroids) {
  for (size_t c = 0; c < centroids.size(); ++c) {
    Point sum(points[0].size());
    double count = 0;
    for (size_t i = 0; i < points.size(); ++i) {
      if (labels[i] != static_cast<int32_t>(c)) continue;
      count += 1;
      for (size_t j = 0; j < sum.size(); ++j) sum[j] += points[i][j];
    }
    if (count == 0) continue;
    for (double& value : sum) value /= count;
    centroids[c] = sum;
  }
}

inline double inertia_of(const std::vector<Point>& points, const std::vector<int32_t>& labels, size_t k) {
  std::vector<Point> centroids(k, Point(points[0].size()));
  move_to_means(points, labels, centroids);
  double sum = 0;
  for (size_t i = 0; i < points.size(); ++i)
    sum += squared_distance(points[i], centroids[static_cast<size_t>(labels[i])]);
  return sum;
}

inline std::vector<int32_t> nearest(const std::vector<Point>& points, const std::vector<Point>& centroids) {
  std::vector<int32_t> labels;
  for (const Point& x : points) {
    size_t best = 0;
    for (size_t c = 1; c < centroids.size(); ++c) {
      if (squared_distance(x, centroids[c]) < squared_distance(x, centroids[best])) best = c;
    }
    labels.push_back(static_cast<int32_t>(best));
  }
  return labels;
}

// Greedy k-means++: the first draw picks the first point, each further centroid is the best of `candidates`
// draws.
inline std::vector<Point> reference_seeds(const std::vector<Point>& points, size_t k, int64_t candidates,
                                          std::span<const double> draws) {
  std::vector<double> mass(points.size(), 1.0), least(points.size(), std::numeric_limits<double>::infinity());
  std::vector<Point> seeds;
  size_t draw = 0;
  while (seeds.size() < k) {
    const double total = std::accumulate(mass.begin(), mass.end(), 0.0);
    double best_sum = std::numeric_limits<double>::infinity();
    std::vector<double> best_least;
    size_t best = 0;
    for (int64_t t = 0; t < (seeds.empty() ? 1 : candidates); ++t) {
      const double target = draws[draw++] * total;
      size_t pick = 0;
      for (double sum = mass[0]; sum < target && pick + 1 < points.size(); sum += mass[pick]) ++pick;
      std::vector<double> trial = least;
      for (size_t i = 0; i < points.size(); ++i)
        trial[i] = std::min(trial[i], squared_distance(points[i], points[pick]));
      const double sum = std::accumulate(trial.begin(), trial.end(), 0.0);
      if (sum < best_sum) {
        best_sum = sum;
        best_least = trial;
        best = pick;
      }
    }
    seeds.push_back(points[best]);
    least = mass = best_least;
  }
  return seeds;
}

struct ReferenceResult {
  std::vector<int32_t> labels;
  double inertia = 0;
  int64_t iterations = 0;
};

// One start until labels repeat or max_iter is reached (tol 0). No cluster may run empty on the way.
inline ReferenceResult reference_kmeans(const std::vector<Point>& points, size_t k, int64_t max_iter,
                                        int64_t candidates, std::span<const double> draws) {
  std::vector<Point> centroids = reference_seeds(points, k, candidates, draws);
  ReferenceResult result;
  while (result.iterations < max_iter) {
    ++result.iterations;
    const std::vector<int32_t> labels = nearest(points, centroids);
    const bool repeated = labels == result.labels;
    result.labels = labels;
    move_to_means(points, labels, centroids);
    if (repeated) break;
  }
  result.labels = nearest(points, centroids);
  result.inertia = inertia_of(points, result.labels, k);
  return result;
}

// Labels renumbered by first appearance.
inline std::vector<int32_t> by_appearance(std::vector<int32_t> labels) {
  std::map<int32_t, int32_t> names;
  for (int32_t& label : labels)
    label = names.emplace(label, static_cast<int32_t>(names.size())).first->second;
  return labels;
}

}  // namespace fltac::test
