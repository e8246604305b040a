// Where Lloyd's iteration starts from when rows are too many for a Gram matrix.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kmeans/gram.h"
#include "kmeans/tile.h"

namespace fltac {

// Rows that k-means++ looks at: all of them, or where they are many one from each of as many equal parts of
// the rows, drawn by `start`. Looking at all would cost k passes over the rows, more than Lloyd's iterations
// do.
std::vector<int64_t> seeding_sample(int64_t rows, int64_t columns, int64_t k, uint64_t seed, uint32_t start);

// Greedy k-means++ (as choose_seeds of lloyd.h) among the rows `sample`: numbers of k different rows at
// different places, or of fewer where the sample holds fewer distinct rows. Distances are sums of squared
// differences in float32, in the frame's coordinates. The result does not depend on the number of threads.
// Errors: Aborted.
std::vector<int64_t> choose_seed_rows(std::span<const float* const> rows, const Frame& frame, int64_t k,
                                      const std::vector<int64_t>& sample, uint64_t seed, uint32_t start,
                                      const Cancelled& cancelled);

}  // namespace fltac
