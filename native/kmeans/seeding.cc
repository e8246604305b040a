#include "kmeans/seeding.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/clones.h"
#include "core/philox.h"
#include "kmeans/lloyd.h"

namespace fltac {
namespace {

// A sample has this many rows, or kRowsPerCluster for each cluster if that is more, but takes no more than
// kSampleBytes unless kLeastPerCluster rows for each cluster do.
constexpr int64_t kSampleRows = 16384;
constexpr int64_t kRowsPerCluster = 32;
constexpr int64_t kSampleBytes = int64_t{128} << 20;
constexpr int64_t kLeastPerCluster = 8;

// Random draws of a start beside those of its k-means++, in a stream of their own.
constexpr uint32_t kSampleSite = 0x80000000;

constexpr int64_t kParts = 64;  // of the sample, whose sums are added up in order

// trial[p] = the less of nearest[p] and distance[p]; returns their sum.
FLTAC_CLONES double take_less(const float* nearest, const float* distance, float* trial) {
  constexpr int64_t kSums = 16;
  double sum[kSums] = {};
  for (int64_t p = 0; p < kTilePoints; p += kSums) {
    for (int64_t l = 0; l < kSums; ++l) {
      const float less = distance[p + l] < nearest[p + l] ? distance[p + l] : nearest[p + l];
      trial[p + l] = less;
      sum[l] += static_cast<double>(less);
    }
  }
  return std::accumulate(sum, sum + kSums, 0.0);
}

// The rows of a sample, packed in tiles, and how far each is from the nearest seed.
class Sample {
 public:
  Sample(std::span<const float* const> rows, const Frame& frame, const std::vector<int64_t>& sample)
      : columns_(static_cast<int64_t>(frame.shift.size())),
        tiles_((static_cast<int64_t>(sample.size()) + kTilePoints - 1) / kTilePoints),
        packed_(static_cast<size_t>(tiles_ * columns_ * kTilePoints)),
        panel_(static_cast<size_t>(columns_ * kPanel)),
        nearest_(static_cast<size_t>(tiles_ * kTilePoints)) {
    std::vector<const float*> points;
    for (const int64_t row : sample) points.push_back(rows[static_cast<size_t>(row)]);
    // What fills up the last tile lies at distance 0 from the start and so counts nothing.
    std::fill_n(nearest_.begin(), sample.size(), std::numeric_limits<float>::infinity());
    at::parallel_for(0, tiles_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t count = std::min(kTilePoints, static_cast<int64_t>(points.size()) - t * kTilePoints);
        pack_tile(points.data() + t * kTilePoints, count, frame, packed_.data() + t * columns_ * kTilePoints);
      }
    });
  }

  // Tries rows of the sample as seeds, and keeps the one that leaves the least sum of distances: its place in
  // `tried`, and the sum.
  std::pair<size_t, double> keep_best(const std::vector<int64_t>& tried) {
    trial_.resize(tried.size() * nearest_.size());
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t first = 0; first < tried.size(); first += kPanel) {
      const size_t count = std::min(static_cast<size_t>(kPanel), tried.size() - first);
      const std::vector<double> sums = measure(tried, first, count);
      for (size_t t = 0; t < count; ++t) {
        if (sums[t] >= least) continue;
        least = sums[t];
        best = first + t;
      }
    }
    std::copy_n(trial_.begin() + static_cast<int64_t>(best * nearest_.size()), nearest_.size(),
                nearest_.begin());
    return {best, least};
  }

  // Squared distances to the nearest seed.
  std::vector<double> nearest() const { return {nearest_.begin(), nearest_.end()}; }

 private:
  // Fills `trial` for `count` candidates of `tried` from `first` on; their sums.
  std::vector<double> measure(const std::vector<int64_t>& tried, size_t first, size_t count) {
    std::fill(panel_.begin(), panel_.end(), 0.0f);
    for (size_t t = 0; t < count; ++t) {
      const int64_t tile = tried[first + t] / kTilePoints, place = tried[first + t] % kTilePoints;
      const float* from = packed_.data() + tile * columns_ * kTilePoints + place;
      for (int64_t c = 0; c < columns_; ++c)
        panel_[static_cast<size_t>(c * kPanel) + t] = from[c * kTilePoints];
    }
    const int64_t parts = std::min(kParts, tiles_);
    std::vector<double> of_parts(static_cast<size_t>(parts) * count);
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      alignas(64) float distance[kPanel * kTilePoints];
      for (int64_t part = begin; part < end; ++part) {
        for (int64_t tile = tiles_ * part / parts; tile < tiles_ * (part + 1) / parts; ++tile) {
          measure_tile(packed_.data() + tile * columns_ * kTilePoints, panel_.data(), columns_, distance);
          for (size_t t = 0; t < count; ++t) {
            float* trial = trial_.data() + (first + t) * nearest_.size();
            of_parts[static_cast<size_t>(part) * count + t] +=
                take_less(nearest_.data() + tile * kTilePoints,
                          distance + static_cast<int64_t>(t) * kTilePoints, trial + tile * kTilePoints);
          }
        }
      }
    });
    std::vector<double> sums(count);
    for (size_t i = 0; i < of_parts.size(); ++i) sums[i % count] += of_parts[i];
    return sums;
  }

  int64_t columns_, tiles_;
  LineVector<float> packed_;    // [tiles][columns][kTilePoints]
  LineVector<float> panel_;     // [columns][kPanel]
  std::vector<float> nearest_;  // [tiles * kTilePoints]
  std::vector<float> trial_;    // [tried][tiles * kTilePoints]
};

}  // namespace

std::vector<int64_t> seeding_sample(int64_t rows, int64_t columns, int64_t k, uint64_t seed, uint32_t start) {
  const int64_t affordable = kSampleBytes / (columns * static_cast<int64_t>(sizeof(float)));
  const int64_t wanted = std::max(kSampleRows, kRowsPerCluster * k);
  const int64_t size = std::min(rows, std::max(kLeastPerCluster * k, std::min(wanted, affordable)));
  std::vector<int64_t> sample(static_cast<size_t>(size));
  std::iota(sample.begin(), sample.end(), int64_t{0});
  if (size == rows) return sample;
  std::vector<double> draws(sample.size());
  philox_doubles(seed, kSampleSite | start, size, draws.data());
  for (int64_t i = 0; i < size; ++i) {
    const int64_t first = rows * i / size, last = rows * (i + 1) / size;
    const auto at = static_cast<size_t>(i);
    sample[at] =
        std::min(last - 1, first + static_cast<int64_t>(draws[at] * static_cast<double>(last - first)));
  }
  return sample;
}

std::vector<int64_t> choose_seed_rows(std::span<const float* const> rows, const Frame& frame, int64_t k,
                                      const std::vector<int64_t>& sample, uint64_t seed, uint32_t start,
                                      const Cancelled& cancelled) {
  std::vector<double> draws(static_cast<size_t>(draws_for(k)));
  philox_doubles(seed, start, static_cast<int64_t>(draws.size()), draws.data());
  Sample places(rows, frame, sample);
  std::vector<double> mass(sample.size(), 1.0);
  double total = static_cast<double>(sample.size());
  std::vector<int64_t> seeds;
  auto draw = draws.begin();
  while (static_cast<int64_t>(seeds.size()) < k && total > 0) {
    stop_if_cancelled(cancelled);
    std::vector<int64_t> tried(seeds.empty() ? 1 : static_cast<size_t>(candidates_for(k)));
    for (int64_t& place : tried) place = point_at(mass, *draw++ * total);
    const auto [best, least] = places.keep_best(tried);
    seeds.push_back(sample[static_cast<size_t>(tried[best])]);
    mass = places.nearest();
    total = least;
  }
  return seeds;
}

}  // namespace fltac
