// Made-up rows to cluster.
#pragma once

#include <cstdint>
#include <vector>

#include "core/philox.h"
#include "kmeans/rows.h"
#include "kmeans_reference.h"

namespace fltac::test {

// Rows, each in memory of its own.
struct Data {
  std::vector<std::vector<float>> values;

  int64_t columns() const { return static_cast<int64_t>(values[0].size()); }
  std::vector<const float*> rows() const {
    std::vector<const float*> pointers;
    for (const auto& row : values) pointers.push_back(row.data());
    return pointers;
  }
  std::vector<Point> points() const {
    std::vector<Point> result;
    for (const auto& row : values) result.emplace_back(row.begin(), row.end());
    return result;
  }
};

// `groups` centres uniform in a cube of side `spread`, rows uniform within 1 around them, all moved by
// `offset`.
inline Data blobs(uint64_t seed, int64_t n, int64_t columns, int64_t groups, double spread,
                  double offset = 0) {
  std::vector<double> centre(static_cast<size_t>(groups * columns)), noise(static_cast<size_t>(n * columns));
  philox_doubles(seed, 1, groups * columns, centre.data());
  philox_doubles(seed, 2, n * columns, noise.data());
  Data data;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> row;
    for (int64_t j = 0; j < columns; ++j) {
      const double c = spread * centre[static_cast<size_t>(i % groups * columns + j)];
      row.push_back(static_cast<float>(offset + c + 2 * noise[static_cast<size_t>(i * columns + j)] - 1));
    }
    data.values.push_back(row);
  }
  return data;
}

}  // namespace fltac::test
