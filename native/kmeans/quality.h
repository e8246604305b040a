// How good a clustering is, judged without true labels: from the Gram matrix, at no further pass over the
// rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kmeans/lloyd.h"

namespace fltac {

// Of each point: distances (not squared) in the space of the clustering, and what follows from them.
struct Quality {
  std::vector<double> own;     // to its own cluster's mean
  std::vector<double> next;    // to the nearest mean of another cluster; empty with a single cluster
  std::vector<double> margin;  // (next - own) / the larger of both, in [-1, 1]; empty with a single cluster
  // (b - a) / the larger of both, with a the mean distance to the other points of its cluster and b the least
  // mean distance to the points of another cluster, in [-1, 1]; 0 for the only point of a cluster (Rousseeuw,
  // 1987, as scikit-learn's silhouette_samples). Empty with a single cluster, and where it was not computed.
  std::vector<double> silhouette;
};

// Fills `margin` from `own` and `next`.
void set_margins(Quality& quality);

// The silhouettes of the clustering `labels` [n] (0..k-1, two or more of them used). Costs n^2 square roots.
std::vector<double> silhouettes(const GramPoints& points, int64_t k, std::span<const int32_t> labels);

// Mean of silhouettes over points by their weights.
double mean_silhouette(const GramPoints& points, std::span<const double> silhouette);

// All of it. Labels lie in 0..k-1; clusters without points are not counted.
Quality judge(const GramPoints& points, int64_t k, std::span<const int32_t> labels);

}  // namespace fltac
