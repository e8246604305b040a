// The fused path: K-means over many short rows. Each iteration reads every row once; a tile of rows is
// compared with all centroids and added to the sums of their clusters while it is in cache, and no rows x k
// matrix exists.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kmeans/kmeans.h"
#include "kmeans/rows.h"
#include "kmeans/tile.h"

namespace fltac {

// The rows and what one pass over them says.
struct FusedData {
  std::vector<const float*> rows;
  int64_t columns = 0;
  Frame frame;
  double mean_variance = 0;  // of the columns

  int64_t row_bytes() const { return columns * static_cast<int64_t>(sizeof(float)); }
};

// Reads the rows of `set`, which all lie in memory. Errors: NonFinite (naming row, column and tensor).
FusedData describe_rows(const RowSet& set);

// One start of Lloyd's iteration as it ended.
struct FusedStart {
  std::vector<int32_t> labels;  // [n]
  double inertia = 0;           // about, in the frame's units: good enough to compare starts
  int64_t iterations = 0;
  int64_t reseeded = 0;
};

// Row numbers to start from, of one data set: [starts][clusters]; a start has as many clusters as seeds.
using Seeds = std::vector<std::vector<int64_t>>;

struct FusedBatch {
  std::vector<std::vector<FusedStart>> starts;  // [data sets][starts]
  // Passes over the rows of a data set, over all sets; each serves all starts that had not ended.
  int64_t sweeps = 0;
};

// Runs every start of every data set; those of one set share their sweeps over the rows. Distances are
// float32, means float64; the result does not depend on the number of threads. Errors: Aborted.
FusedBatch run_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options);

// run_fused, or its CUDA counterpart.
using RunBatch = FusedBatch (*)(std::span<const FusedData>, std::span<const Seeds>, const KmeansOptions&);

// The whole fused path for data sets of one shape: starts seeded by greedy k-means++ on a sample of the rows,
// run in batches. Sets all of the results, one for each set, but path and device. Labels are numbered by
// first appearance; counts, centroids and inertia are formed in double from the rows themselves, margins in
// float32. There are no silhouettes: they would cost n^2 distances. Errors: NonFinite, Aborted.
void search_fused(std::span<const RowSet* const> sets, const KmeansOptions& options, RunBatch run,
                  std::span<KmeansResult> results);

}  // namespace fltac
