#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/clones.h"
#include "kmeans/fused.h"
#include "kmeans/fused_rows.h"
#include "kmeans/gram.h"
#include "kmeans/labels.h"
#include "kmeans/seeding.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

// Starts that are run together: as many as leave room for eight lanes of sums, and for labels.
int64_t batch_size(const FusedData& data, const KmeansOptions& options) {
  const int64_t sums = kLaneSumBytes / (8 * sum_bytes(data.columns, options.k));
  const int64_t labels = kLaneSumBytes / static_cast<int64_t>(data.rows.size() * sizeof(int32_t));
  return std::clamp<int64_t>(std::min(sums, labels), 1, options.n_init);
}

// Seeds of starts [first, last) of one data set.
Seeds seeds_of(const FusedData& data, const KmeansOptions& options, int64_t first, int64_t last,
               KmeansResult& result) {
  Seeds seeds;
  for (int64_t s = first; s < last; ++s) {
    const auto start = static_cast<uint32_t>(s);
    const std::vector<int64_t> sample =
        seeding_sample(static_cast<int64_t>(data.rows.size()), data.columns, options.k, options.seed, start);
    result.seeded_from = static_cast<int64_t>(sample.size());
    result.bytes_read += options.k * result.seeded_from * data.row_bytes();
    seeds.push_back(
        choose_seed_rows(data.rows, data.frame, options.k, sample, options.seed, start, options.cancelled));
  }
  return seeds;
}

// The best start of each data set.
std::vector<FusedStart> best_starts(std::span<const FusedData> data, const KmeansOptions& options,
                                    RunBatch run, std::span<KmeansResult> results) {
  const int64_t step = batch_size(data.front(), options);
  const auto n = static_cast<int64_t>(data.front().rows.size()), sets = static_cast<int64_t>(data.size());
  std::vector<FusedStart> best(data.size());
  for (int64_t first = 0; first < options.n_init; first += step) {
    std::vector<Seeds> seeds;
    for (size_t i = 0; i < data.size(); ++i) {
      seeds.push_back(seeds_of(data[i], options, first, std::min(options.n_init, first + step), results[i]));
    }
    FusedBatch batch = run(data, seeds, options);
    for (size_t i = 0; i < data.size(); ++i) {
      results[i].bytes_read += batch.sweeps / sets * n * data[i].row_bytes();
      for (FusedStart& start : batch.starts[i]) {
        if (best[i].labels.empty() || start.inertia < best[i].inertia) best[i] = std::move(start);
      }
    }
  }
  return best;
}

// The means of the clusters in double: [k, columns]; zeros for a cluster without rows.
std::vector<double> means_of(const FusedData& data, const std::vector<int32_t>& labels,
                             const std::vector<int64_t>& counts) {
  const auto n = static_cast<int64_t>(data.rows.size()), k = static_cast<int64_t>(counts.size());
  const int64_t lanes = lanes_for(n, sum_bytes(data.columns, k));
  std::vector<std::vector<double>> sums(static_cast<size_t>(lanes));
  at::parallel_for(0, lanes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      auto& sum = sums[static_cast<size_t>(l)];
      sum.resize(static_cast<size_t>(k * data.columns));
      const LaneRows range = rows_of_lane(n, l, lanes);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const auto at = static_cast<size_t>(i);
        add_scaled(data.rows[at], 1.0, data.columns, sum.data() + labels[at] * data.columns);
      }
    }
  });
  std::vector<double> means = std::move(sums.front());
  for (size_t l = 1; l < sums.size(); ++l) {
    add_scaled(sums[l].data(), 1.0, static_cast<int64_t>(means.size()), means.data());
  }
  for (int64_t c = 0; c < k; ++c) {
    const auto count = static_cast<double>(std::max<int64_t>(1, counts[static_cast<size_t>(c)]));
    for (int64_t j = 0; j < data.columns; ++j) means[static_cast<size_t>(c * data.columns + j)] /= count;
  }
  return means;
}

// Sum of (scale x[j] - shift[j])^2.
FLTAC_CLONES float framed_norm2(const float* x, const float* shift, float scale, int64_t n) {
  constexpr int64_t kSums = 32;
  float sum[kSums] = {};
  int64_t j = 0;
  for (; j + kSums <= n; j += kSums) {
    for (int64_t l = 0; l < kSums; ++l) {
      const float d = scale * x[j + l] - shift[j + l];
      sum[l] += d * d;
    }
  }
  for (; j < n; ++j) {
    const float d = scale * x[j] - shift[j];
    sum[0] += d * d;
  }
  return std::accumulate(sum, sum + kSums, 0.0f);
}

// One last sweep: every row against the means of the clusters.
class Verdict {
 public:
  Verdict(const FusedData& data, const std::vector<double>& means, const KmeansOptions& options,
          KmeansResult& result)
      : data_(data),
        means_(means),
        options_(options),
        result_(result),
        codebook_(1, static_cast<int64_t>(result.counts.size()), data.columns) {
    std::vector<double> framed(static_cast<size_t>(data.columns));
    for (size_t c = 0; c < result.counts.size(); ++c) {
      if (result.counts[c] == 0) continue;
      used_ += 1;
      for (size_t j = 0; j < framed.size(); ++j) {
        framed[j] = means[c * framed.size() + j] * static_cast<double>(data.frame.scale) -
                    static_cast<double>(data.frame.shift[j]);
      }
      codebook_.set(0, static_cast<int64_t>(c), framed.data());
    }
  }

  // Sets inertia and quality.
  void run() {
    const auto n = static_cast<int64_t>(data_.rows.size());
    const int64_t lanes = lanes_for(n, 1);
    std::vector<double> inertia(static_cast<size_t>(lanes));
    result_.quality.own.resize(data_.rows.size());
    if (used_ > 1) result_.quality.next.resize(data_.rows.size());
    at::parallel_for(0, lanes, 1, [&](int64_t begin, int64_t end) {
      TileScratch scratch(codebook_, true);
      TileResult found(1);
      for (int64_t l = begin; l < end; ++l) {
        const LaneRows range = rows_of_lane(n, l, lanes);
        for (int64_t first = range.begin; first < range.end; first += kTilePoints) {
          stop_if_cancelled(options_.cancelled);
          const int64_t count = std::min(kTilePoints, range.end - first);
          assign_tile(data_.rows.data() + first, count, data_.frame, codebook_, {0}, scratch, found);
          for (int64_t p = 0; p < count; ++p)
            inertia[static_cast<size_t>(l)] +=
                judge(static_cast<size_t>(first + p), static_cast<size_t>(p), found);
        }
      }
    });
    result_.inertia = std::accumulate(inertia.begin(), inertia.end(), 0.0);
    set_margins(result_.quality);
  }

 private:
  // Row i, found at place p of a tile; its squared distance to its own mean.
  double judge(size_t i, size_t p, const TileResult& found) {
    const int32_t label = result_.labels[i];
    const double own = squared_distance(data_.rows[i], means_.data() + label * data_.columns, data_.columns);
    result_.quality.own[i] = std::sqrt(own);
    if (used_ < 2) return own;
    const float other = found.label[p] == label ? found.second[p] : found.best[p];
    const float norm2 =
        framed_norm2(data_.rows[i], data_.frame.shift.data(), data_.frame.scale, data_.columns);
    const double squared = std::max(0.0, static_cast<double>(norm2) + 2.0 * static_cast<double>(other));
    result_.quality.next[i] = std::sqrt(squared) / static_cast<double>(data_.frame.scale);
    return own;
  }

  const FusedData& data_;
  const std::vector<double>& means_;
  const KmeansOptions& options_;
  KmeansResult& result_;
  Codebook codebook_;
  int64_t used_ = 0;  // clusters with rows
};

}  // namespace

void search_fused(std::span<const RowSet* const> sets, const KmeansOptions& options, RunBatch run,
                  std::span<KmeansResult> results) {
  std::vector<FusedData> data;
  for (const RowSet* set : sets) data.push_back(describe_rows(*set));
  std::vector<FusedStart> best = best_starts(data, options, run, results);
  for (size_t i = 0; i < data.size(); ++i) {
    KmeansResult& result = results[i];
    result.k = options.k;
    result.labels = std::move(best[i].labels);
    result.iterations = best[i].iterations;
    result.reseeded = best[i].reseeded;
    number_by_appearance(result.labels, options.k);
    result.counts = count_labels(result.labels, options.k);
    const std::vector<double> means = means_of(data[i], result.labels, result.counts);
    Verdict(data[i], means, options, result).run();
    // Of means_of and of the verdict, which reads a row again for its norm while it is in cache.
    result.bytes_read += 2 * sets[i]->rows() * data[i].row_bytes();
    if (options.centroids) result.centroids.assign(means.begin(), means.end());
  }
}

}  // namespace fltac
