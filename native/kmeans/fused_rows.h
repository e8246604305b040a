// How the fused path deals rows to lanes. Lanes add up by themselves and are added together in order, so that
// sums depend on their number alone, which the shape gives and not the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kmeans/tile.h"

namespace fltac {

// Memory for the lanes' sums.
constexpr int64_t kLaneSumBytes = int64_t{192} << 20;

// Bytes of the sums of k clusters in one lane.
constexpr int64_t sum_bytes(int64_t columns, int64_t k) {
  return columns * k * static_cast<int64_t>(sizeof(double));
}

// Lanes for sums of `bytes` each, 1 to 64.
inline int64_t lanes_for(int64_t rows, int64_t bytes) {
  const int64_t tiles = (rows + kTilePoints - 1) / kTilePoints;
  return std::clamp<int64_t>(std::min(kLaneSumBytes / std::max<int64_t>(1, bytes), tiles), 1, 64);
}

// The rows of one lane: whole tiles.
struct LaneRows {
  int64_t begin, end;
};
inline LaneRows rows_of_lane(int64_t rows, int64_t lane, int64_t lanes) {
  const int64_t tiles = (rows + kTilePoints - 1) / kTilePoints;
  return {tiles * lane / lanes * kTilePoints, std::min(rows, tiles * (lane + 1) / lanes * kTilePoints)};
}

// Sums and numbers of the rows of clusters.
struct ClusterSums {
  ClusterSums(int64_t k, int64_t columns)
      : sum(static_cast<size_t>(k * columns)), count(static_cast<size_t>(k)) {}

  std::vector<double> sum;     // [k, columns]
  std::vector<int64_t> count;  // [k]
};

}  // namespace fltac
