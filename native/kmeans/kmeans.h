// K-means over rows given by pointers: one interface, several paths. `KmeansResult::path` names the one that
// ran.
//
// Meaning of n_init, max_iter, tol and greedy k-means++ as in scikit-learn's KMeans
// (sklearn/cluster/_kmeans.py), on the distinct rows, each weighted by how often it occurs. Deviations:
// Lloyd's iteration is followed by single-row exchanges, which lower inertia further (kmeans/exchange.h;
// `exchange` turns them off); equal rows always share a label; an empty cluster takes the farthest row that
// does not leave another cluster empty, also after the last iteration; labels are numbered by first
// appearance; fewer rows than k is allowed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace fltac {

struct KmeansOptions {
  int64_t k = 0;
  int64_t n_init = 10;     // k-means++ starts, of which the one with the least inertia is kept
  int64_t max_iter = 300;  // Lloyd iterations of one start at most
  // A start ends when labels repeat or the centroids' squared moves sum to at most tol x mean variance of the
  // columns.
  double tol = 1e-4;
  bool exchange = true;
  uint64_t seed = 0;  // start s draws from stream (seed, s), whatever threads run
  // Asked now and then, also from worker threads; true ends the work with ErrorCode::Aborted.
  std::function<bool()> cancelled;
};

struct KmeansResult {
  std::vector<int32_t> labels;  // [n], in 0..k-1
  std::vector<int64_t> counts;  // [k] rows of each cluster; 0 only where there are fewer distinct rows than k
  std::vector<float> centroids;  // [k, columns] row-major: means of the clusters, summed in double
  double inertia = 0;      // sum of squared distances of the rows to the means of their clusters, in double
  int64_t iterations = 0;  // Lloyd iterations of the kept start; 0 where no start was needed
  int64_t reseeded = 0;    // empty clusters that were given a row in the kept start
  int64_t exchanged = 0;   // rows that exchanges moved after Lloyd's iteration, in the kept start
  std::string path;        // "gram"
};

// Clusters `rows` (n pointers to `columns` float32 values each; they need not be contiguous with one
// another). With no more distinct rows than k each is its own cluster, and a cluster c without rows repeats
// centroid c mod (number of distinct rows). The result does not depend on the number of threads. Errors:
// Usage (k, n_init, max_iter below 1, tol negative or not finite, no rows, no columns), NonFinite (names row
// and column), Unsupported (more rows than the Gram path takes), Aborted.
KmeansResult kmeans(std::span<const float* const> rows, int64_t columns, const KmeansOptions& options);

}  // namespace fltac
