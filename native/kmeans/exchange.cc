#include "kmeans/exchange.h"

#include <algorithm>

#include "kmeans/gram.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

// A move must lower inertia by this share of the points' squared norms: far above rounding, so that no two
// moves can undo each other for ever, and far below any difference that matters.
constexpr double kLeastGain = 1e-12;

class Exchange {
 public:
  Exchange(const GramPoints& points, int64_t k, std::vector<int32_t>& labels)
      : points_(points), n_(points.n), k_(k), labels_(labels) {
    for (int64_t i = 0; i < n_; ++i) least_gain_ += kLeastGain * weight(i) * gram(i, i);
  }

  // One pass over the points; the number that moved.
  int64_t pass() {
    sum_up();
    int64_t moves = 0;
    for (int64_t i = 0; i < n_; ++i) moves += move_to_best(i) ? 1 : 0;
    return moves;
  }

 private:
  double gram(int64_t i, int64_t j) const { return points_.gram[static_cast<size_t>(i * n_ + j)]; }
  double weight(int64_t i) const { return points_.weight[static_cast<size_t>(i)]; }
  double* dots(int64_t c) { return dot_.data() + c * n_; }

  // Forms the clusters' sums anew, so that rounding does not grow from pass to pass.
  void sum_up() {
    dot_.assign(static_cast<size_t>(k_ * n_), 0.0);
    total_.assign(static_cast<size_t>(k_), 0.0);
    norm2_.assign(static_cast<size_t>(k_), 0.0);
    for (int64_t i = 0; i < n_; ++i) shift(i, labels_[static_cast<size_t>(i)], weight(i));
  }

  // Adds point i to cluster c with `amount` of weight; a negative one takes it out.
  void shift(int64_t i, int64_t c, double amount) {
    const auto at = static_cast<size_t>(c);
    norm2_[at] += amount * (2.0 * dots(c)[i] + amount * gram(i, i));
    add_scaled(points_.gram.data() + i * n_, amount, n_, dots(c));
    total_[at] += amount;
  }

  // Squared distance of point i to the mean of cluster c.
  double distance(int64_t i, int64_t c) {
    const double total = total_[static_cast<size_t>(c)];
    return std::max(0.0, gram(i, i) + (norm2_[static_cast<size_t>(c)] / total - 2.0 * dots(c)[i]) / total);
  }

  // Taking weight w out of a cluster of weight W lowers its inertia by W w / (W - w) times the squared
  // distance to its mean; putting it in raises it by W w / (W + w) times that.
  bool move_to_best(int64_t i) {
    int32_t& label = labels_[static_cast<size_t>(i)];
    const double w = weight(i), own = total_[static_cast<size_t>(label)];
    if (own - w < 0.5) return false;  // weights are whole numbers: the cluster's only point
    double least = own * w / (own - w) * distance(i, label) - least_gain_;
    int32_t best = label;
    for (int32_t c = 0; c < k_; ++c) {
      if (c == label) continue;
      const double other = total_[static_cast<size_t>(c)];
      const double cost = other * w / (other + w) * distance(i, c);
      if (cost >= least) continue;
      least = cost;
      best = c;
    }
    if (best == label) return false;
    shift(i, label, -w);
    shift(i, best, w);
    label = best;
    return true;
  }

  const GramPoints& points_;
  int64_t n_, k_;
  std::vector<int32_t>& labels_;
  double least_gain_ = 0;
  std::vector<double> dot_;    // [k, n] <x_i, sum of cluster c>
  std::vector<double> total_;  // [k] weight of cluster c
  std::vector<double> norm2_;  // [k] <s, s> of the sum s of cluster c
};

}  // namespace

int64_t exchange_points(const GramPoints& points, int64_t k, int64_t max_passes,
                        const std::function<bool()>& cancelled, std::vector<int32_t>& labels) {
  Exchange exchange(points, k, labels);
  int64_t moves = 0;
  for (int64_t pass = 0; pass < max_passes; ++pass) {
    stop_if_cancelled(cancelled);
    const int64_t moved = exchange.pass();
    moves += moved;
    if (moved == 0) break;
  }
  return moves;
}

}  // namespace fltac
