#include "kmeans/certificate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kmeans/labels.h"

namespace fltac {
namespace {

class Certificate {
 public:
  Certificate(const GramError& error, const GramPoints& points, int64_t k)
      : error_(error), points_(points), k_(k), length_(static_cast<size_t>(points.n)) {
    for (int64_t i = 0; i < points.n; ++i) {
      const double most = (std::max(0.0, gram(i, i)) + error.absolute) / (1.0 - error.relative);
      length_[static_cast<size_t>(i)] = std::sqrt(most);
    }
  }

  // Whether every point's distances to its own mean and to each other one differ by more than their errors.
  bool nearest_is_certain(std::span<const int32_t> labels) const {
    const GramCentroids centroids = means_in_gram(points_, k_, labels);
    const std::vector<double> reach = mean_lengths(labels);
    for (int64_t i = 0; i < points_.n; ++i) {
      const int64_t own = labels[static_cast<size_t>(i)];
      const auto squared = [&](int64_t c) {
        return gram(i, i) - 2.0 * centroids.dot[static_cast<size_t>(c * points_.n + i)] +
               centroids.norm2[static_cast<size_t>(c)];
      };
      const double to_own = squared(own), error_of_own = error_of(i, reach[static_cast<size_t>(own)]);
      for (int64_t c = 0; c < k_; ++c) {
        const double errors = error_of_own + error_of(i, reach[static_cast<size_t>(c)]);
        if (c != own && !(std::abs(squared(c) - to_own) > errors)) return false;
      }
    }
    return true;
  }

  // How far a start's inertia may be off.
  double error_of_inertia(std::span<const int32_t> labels) const {
    const std::vector<double> reach = mean_lengths(labels);
    double sum = 0;
    for (size_t i = 0; i < labels.size(); ++i)
      sum += points_.weight[i] * error_of(static_cast<int64_t>(i), reach[static_cast<size_t>(labels[i])]);
    return sum;
  }

 private:
  double gram(int64_t i, int64_t j) const { return points_.gram[static_cast<size_t>(i * points_.n + j)]; }

  // Of the squared distance of point i to a mean whose points have the mean length `reach`.
  double error_of(int64_t i, double reach) const {
    const double both = length_[static_cast<size_t>(i)] + reach;
    return error_.relative * both * both + 4.0 * error_.absolute;
  }

  // Mean length of each cluster's points: [k].
  std::vector<double> mean_lengths(std::span<const int32_t> labels) const {
    std::vector<double> sums(static_cast<size_t>(k_));
    const std::vector<double> weights = cluster_weights(points_, k_, labels);
    for (size_t i = 0; i < labels.size(); ++i)
      sums[static_cast<size_t>(labels[i])] += points_.weight[i] * length_[i];
    for (size_t c = 0; c < sums.size(); ++c) sums[c] /= weights[c];
    return sums;
  }

  const GramError& error_;
  const GramPoints& points_;
  int64_t k_;
  std::vector<double> length_;  // [n] |x_i| at most
};

std::vector<int32_t> numbered(const LloydResult& start, int64_t k) {
  std::vector<int32_t> labels = start.labels;
  number_by_appearance(labels, k);
  return labels;
}

}  // namespace

bool decided_beyond(const GramError& error, const GramPoints& points, int64_t k, const LloydResult& best,
                    std::span<const LloydResult> starts) {
  const Certificate certificate(error, points, k);
  if (!certificate.nearest_is_certain(best.labels)) return false;
  const std::vector<int32_t> kept = numbered(best, k);
  const double most = best.inertia + certificate.error_of_inertia(best.labels);
  return std::all_of(starts.begin(), starts.end(), [&](const LloydResult& start) {
    return start.inertia - certificate.error_of_inertia(start.labels) > most || numbered(start, k) == kept;
  });
}

}  // namespace fltac
