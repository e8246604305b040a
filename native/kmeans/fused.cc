#include "kmeans/fused.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/clones.h"
#include "core/error.h"
#include "kmeans/fused_rows.h"
#include "kmeans/gram.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

// Adds x - origin to sum and its square to squares; false if a value is NaN or infinite.
FLTAC_CLONES bool add_moments(const float* x, const float* origin, int64_t n, double* sum, double* squares) {
  double check = 0;
  for (int64_t j = 0; j < n; ++j) {
    const double d = static_cast<double>(x[j]) - static_cast<double>(origin[j]);
    sum[j] += d;
    squares[j] += d * d;
    check += d * 0.0;
  }
  return check == 0.0;
}

// Names the first value of a row that is not finite.
[[noreturn]] void report_non_finite(const RowSet& set, const FusedData& data, int64_t row) {
  const float* bad = data.rows[static_cast<size_t>(row)];
  int64_t column = 0;
  while (column + 1 < data.columns && std::isfinite(bad[column])) ++column;
  std::vector<float> values;
  for (int64_t i = 0; i <= row; ++i) values.push_back(data.rows[static_cast<size_t>(i)][column]);
  fail_non_finite(set, values, column);
}

// One start in the middle of Lloyd's iteration.
struct Running {
  Running(int64_t rows, int64_t k_, int64_t columns)
      : k(k_), members(k_, columns), centroids(static_cast<size_t>(k_ * columns)) {
    result.labels.assign(static_cast<size_t>(rows), -1);
  }

  int64_t k;
  FusedStart result;
  ClusterSums members;            // of the labels of the last sweep
  std::vector<double> centroids;  // [k, columns], raw values
  int64_t changed = 0;            // labels that the last sweep changed
  bool done = false;
};

class FusedLloyd {
 public:
  FusedLloyd(const FusedData& data, const Seeds& seeds, const KmeansOptions& options)
      : data_(data),
        options_(options),
        n_(static_cast<int64_t>(data.rows.size())),
        codebook_(static_cast<int64_t>(seeds.size()), most(seeds), data.columns) {
    int64_t bytes = 0;
    for (const auto& of_start : seeds) {
      const auto k = static_cast<int64_t>(of_start.size());
      running_.emplace_back(n_, k, data.columns);
      bytes += sum_bytes(data.columns, k);
      for (int64_t c = 0; c < k; ++c) {
        const float* row = data.rows[static_cast<size_t>(of_start[static_cast<size_t>(c)])];
        std::copy_n(row, data.columns, running_.back().centroids.begin() + c * data.columns);
      }
    }
    lanes_ = lanes_for(n_, bytes);
  }

  std::vector<FusedStart> run() {
    for (int64_t iteration = 1; iteration <= options_.max_iter; ++iteration) {
      const std::vector<int64_t> active = unfinished();
      if (active.empty()) break;
      sweep(active);
      for (const int64_t start : active) move(running_[static_cast<size_t>(start)], iteration);
    }
    // The labels of starts that moved their centroids last are those of the centroids before.
    std::vector<int64_t> last;
    for (size_t s = 0; s < running_.size(); ++s) {
      if (running_[s].changed > 0) last.push_back(static_cast<int64_t>(s));
    }
    if (!last.empty()) sweep(last);
    for (const int64_t start : last) fill_empty(running_[static_cast<size_t>(start)]);
    std::vector<FusedStart> results;
    for (Running& start : running_) results.push_back(std::move(start.result));
    return results;
  }

  int64_t sweeps() const { return sweeps_; }

 private:
  static int64_t most(const Seeds& seeds) {
    size_t k = 0;
    for (const auto& of_start : seeds) k = std::max(k, of_start.size());
    return static_cast<int64_t>(k);
  }

  std::vector<int64_t> unfinished() const {
    std::vector<int64_t> active;
    for (size_t s = 0; s < running_.size(); ++s) {
      if (!running_[s].done) active.push_back(static_cast<int64_t>(s));
    }
    return active;
  }

  // What one lane adds up for one start.
  struct Lane {
    Lane(int64_t k, int64_t columns) : sums(k, columns) {}
    ClusterSums sums;
    int64_t changed = 0;
    double inertia = 0;
  };

  // Assigns every row to the nearest centroid, in each of the starts, and adds up the clusters.
  void sweep(const std::vector<int64_t>& active) {
    ++sweeps_;
    std::vector<double> framed(static_cast<size_t>(data_.columns));
    for (const int64_t s : active) {
      const Running& start = running_[static_cast<size_t>(s)];
      for (int64_t c = 0; c < start.k; ++c) {
        to_frame(start.centroids.data() + c * data_.columns, framed);
        codebook_.set(s, c, framed.data());
      }
    }
    std::vector<std::vector<Lane>> lanes(static_cast<size_t>(lanes_));
    at::parallel_for(0, lanes_, 1, [&](int64_t begin, int64_t end) {
      TileScratch scratch(codebook_, false);
      TileResult found(codebook_.starts());
      for (int64_t l = begin; l < end; ++l) {
        auto& lane = lanes[static_cast<size_t>(l)];
        for (const int64_t s : active) lane.emplace_back(running_[static_cast<size_t>(s)].k, data_.columns);
        const LaneRows range = rows_of_lane(n_, l, lanes_);
        for (int64_t first = range.begin; first < range.end; first += kTilePoints) {
          stop_if_cancelled(options_.cancelled);
          const int64_t count = std::min(kTilePoints, range.end - first);
          assign_tile(data_.rows.data() + first, count, data_.frame, codebook_, active, scratch, found);
          for (size_t a = 0; a < active.size(); ++a) take(active[a], first, count, found, lane[a]);
        }
      }
    });
    collect(active, lanes);
  }

  // Writes a tile's labels and adds its rows to their clusters.
  void take(int64_t s, int64_t first, int64_t count, const TileResult& found, Lane& lane) {
    Running& start = running_[static_cast<size_t>(s)];
    for (int64_t p = 0; p < count; ++p) {
      const auto at = static_cast<size_t>(s * kTilePoints + p);
      const int32_t label = found.label[at];
      int32_t& kept = start.result.labels[static_cast<size_t>(first + p)];
      lane.changed += kept == label ? 0 : 1;
      kept = label;
      lane.inertia += 2.0 * static_cast<double>(found.best[at]);
      lane.sums.count[static_cast<size_t>(label)] += 1;
      add_scaled(data_.rows[static_cast<size_t>(first + p)], 1.0, data_.columns,
                 lane.sums.sum.data() + label * data_.columns);
    }
  }

  void collect(const std::vector<int64_t>& active, const std::vector<std::vector<Lane>>& lanes) {
    for (size_t a = 0; a < active.size(); ++a) {
      Running& start = running_[static_cast<size_t>(active[a])];
      start.members = ClusterSums(start.k, data_.columns);
      start.changed = 0;
      start.result.inertia = 0;
      for (const auto& lane : lanes) {
        start.changed += lane[a].changed;
        start.result.inertia += lane[a].inertia;
        for (size_t c = 0; c < start.members.count.size(); ++c)
          start.members.count[c] += lane[a].sums.count[c];
      }
      at::parallel_for(0, start.k, 1, [&](int64_t begin, int64_t end) {
        const int64_t from = begin * data_.columns, values = (end - begin) * data_.columns;
        for (const auto& lane : lanes)
          add_scaled(lane[a].sums.sum.data() + from, 1.0, values, start.members.sum.data() + from);
      });
    }
  }

  // Moves the centroids of a start to the means of its clusters, and sees whether it has ended.
  void move(Running& start, int64_t iteration) {
    start.result.iterations = iteration;
    const bool repeated = start.changed == 0;
    fill_empty(start);
    double moved = 0;
    for (int64_t c = 0; c < start.k; ++c) {
      const auto count = static_cast<double>(start.members.count[static_cast<size_t>(c)]);
      if (count == 0) continue;
      for (int64_t j = c * data_.columns; j < (c + 1) * data_.columns; ++j) {
        const auto at = static_cast<size_t>(j);
        const double mean = start.members.sum[at] / count;
        moved += (mean - start.centroids[at]) * (mean - start.centroids[at]);
        start.centroids[at] = mean;
      }
    }
    start.done = repeated || moved <= options_.tol * data_.mean_variance;
  }

  // Gives each empty cluster the farthest row (the first of equals) that shares its cluster with another and
  // does not lie at its centroid, as scikit-learn's _relocate_empty_clusters_dense but for these conditions.
  void fill_empty(Running& start) {
    std::vector<int32_t> empty;
    for (int32_t c = 0; c < start.k; ++c) {
      if (start.members.count[static_cast<size_t>(c)] == 0) empty.push_back(c);
    }
    if (empty.empty()) return;
    const std::vector<double> distance = distances(start);
    std::vector<int64_t> order(distance.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return distance[static_cast<size_t>(a)] > distance[static_cast<size_t>(b)];
    });
    auto next = empty.begin();
    for (const int64_t row : order) {
      if (next == empty.end() || !(distance[static_cast<size_t>(row)] > 0)) break;
      int32_t& label = start.result.labels[static_cast<size_t>(row)];
      if (start.members.count[static_cast<size_t>(label)] < 2) continue;
      shift(start.members, row, label, -1);
      shift(start.members, row, *next, 1);
      label = *next++;
      ++start.result.reseeded;
      ++start.changed;
    }
  }

  // Adds a row to the sums of a cluster (by 1), or takes it out (by -1).
  void shift(ClusterSums& sums, int64_t row, int32_t cluster, int by) const {
    add_scaled(data_.rows[static_cast<size_t>(row)], by, data_.columns,
               sums.sum.data() + cluster * data_.columns);
    sums.count[static_cast<size_t>(cluster)] += by;
  }

  // Squared distances of the rows to their centroids.
  std::vector<double> distances(const Running& start) const {
    std::vector<double> distance(static_cast<size_t>(n_));
    at::parallel_for(0, n_, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(i);
        distance[at] = squared_distance(
            data_.rows[at], start.centroids.data() + start.result.labels[at] * data_.columns, data_.columns);
      }
    });
    return distance;
  }

  void to_frame(const double* centroid, std::vector<double>& out) const {
    for (size_t j = 0; j < out.size(); ++j) {
      out[j] =
          centroid[j] * static_cast<double>(data_.frame.scale) - static_cast<double>(data_.frame.shift[j]);
    }
  }

  const FusedData& data_;
  const KmeansOptions& options_;
  int64_t n_, lanes_ = 1, sweeps_ = 0;
  Codebook codebook_;
  std::vector<Running> running_;
};

}  // namespace

FusedData describe_rows(const RowSet& set) {
  const int64_t n = set.rows(), columns = set.columns();
  FusedData data;
  data.rows = set.read(0, columns).rows;
  data.columns = columns;
  const int64_t lanes = lanes_for(n, 2 * sum_bytes(columns, 1));
  std::vector<double> sum(static_cast<size_t>(lanes * columns)), squares(sum.size());
  std::vector<int64_t> bad(static_cast<size_t>(lanes), -1);
  at::parallel_for(0, lanes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const LaneRows range = rows_of_lane(n, l, lanes);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const bool finite = add_moments(data.rows[static_cast<size_t>(i)], data.rows[0], columns,
                                        sum.data() + l * columns, squares.data() + l * columns);
        int64_t& first = bad[static_cast<size_t>(l)];
        if (!finite && first < 0) first = i;
      }
    }
  });
  for (const int64_t row : bad) {
    if (row >= 0) report_non_finite(set, data, row);
  }
  for (int64_t l = 1; l < lanes; ++l) {
    add_scaled(sum.data() + l * columns, 1.0, columns, sum.data());
    add_scaled(squares.data() + l * columns, 1.0, columns, squares.data());
  }
  std::vector<double> mean(static_cast<size_t>(columns));
  for (int64_t j = 0; j < columns; ++j) {
    const auto at = static_cast<size_t>(j);
    const double shift = sum[at] / static_cast<double>(n);
    mean[at] = static_cast<double>(data.rows[0][j]) + shift;
    data.mean_variance += std::max(0.0, squares[at] / static_cast<double>(n) - shift * shift);
  }
  data.mean_variance /= static_cast<double>(columns);
  // A power of two that brings the mean variance near 1.
  if (data.mean_variance > 0)
    data.frame.scale =
        static_cast<float>(std::ldexp(1.0, -std::clamp(std::ilogb(data.mean_variance) / 2, -120, 120)));
  for (const double m : mean)
    data.frame.shift.push_back(static_cast<float>(m * static_cast<double>(data.frame.scale)));
  return data;
}

FusedBatch run_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options) {
  FusedBatch batch;
  for (size_t i = 0; i < data.size(); ++i) {
    FusedLloyd lloyd(data[i], seeds[i], options);
    batch.starts.push_back(lloyd.run());
    batch.sweeps += lloyd.sweeps();
  }
  return batch;
}

}  // namespace fltac
