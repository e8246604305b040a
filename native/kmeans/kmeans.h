// K-means: one interface, several paths, chosen by shape and device. `KmeansResult::path` names the one that
// ran.
//
//   gram   few rows: one pass over them forms their n x n inner products, in which all starts then run at
//          once. Out of core; the only path for spaces other than the parameters themselves. Products in
//          float32 where that is faster and provably decides nothing (kmeans/certificate.h), else in double;
//          `KmeansResult::gram` names which.
//   fused  many rows: each iteration is one sweep that assigns and adds up (kmeans/fused.h). Distances in
//          float32, means and inertia in double.
//
// Meaning of n_init, max_iter, tol and greedy k-means++ as in scikit-learn's KMeans
// (sklearn/cluster/_kmeans.py). Deviations: in the gram path rows count once, weighted by how often they
// occur, and Lloyd's iteration is followed by single-row exchanges, which lower inertia further
// (kmeans/exchange.h; `exchange` turns them off); in the fused path k-means++ draws from a sample where rows
// are many (kmeans/seeding.h). Equal rows always share a label; an empty cluster takes the farthest row that
// does not leave another cluster empty, also after the last iteration; labels are numbered by first
// appearance; fewer rows than k is allowed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/large_vector.h"
#include "kmeans/quality.h"
#include "kmeans/rows.h"
#include "kmeans/space.h"

namespace fltac {

enum class KmeansPath { kAuto, kGram, kFused };
enum class KmeansDevice { kAuto, kCpu, kCuda };
enum class KmeansGram { kAuto, kFloat64 };

struct KmeansOptions {
  int64_t k = 0;
  // Takes the number of clusters with the largest mean silhouette, from 2 to most_k, instead of k.
  bool auto_k = false;
  int64_t most_k = 20;
  int64_t n_init = 10;     // k-means++ starts, of which the one with the least inertia is kept
  int64_t max_iter = 300;  // Lloyd iterations of one start at most
  // A start ends when labels repeat or the centroids' squared moves sum to at most tol x mean variance of the
  // columns.
  double tol = 1e-4;
  bool exchange = true;
  bool centroids = true;  // false saves a second pass over the rows
  // kAuto tries products in float32 first where they are faster, centroids are formed (so that inertia comes
  // from the rows) and the space is plain.
  KmeansGram gram = KmeansGram::kAuto;
  uint64_t seed = 0;  // start s draws from stream (seed, s), whatever threads run
  SpaceOptions space;
  KmeansPath path = KmeansPath::kAuto;
  KmeansDevice device = KmeansDevice::kAuto;
  // Asked now and then, also from worker threads; true ends the work with ErrorCode::Aborted.
  std::function<bool()> cancelled;
};

// A number of clusters that auto_k tried.
struct CountTried {
  int64_t k;
  double silhouette;  // mean over the rows
  double inertia;
};

struct KmeansResult {
  int64_t k = 0;                // clusters asked for, or found by auto_k
  std::vector<int32_t> labels;  // [n], in 0..k-1
  std::vector<int64_t> counts;  // [k] rows of each cluster; 0 only where there are fewer distinct rows than k
  // [k, columns] row-major: means of the clusters' rows (of their parameters, in every space), summed in
  // double; empty unless asked for.
  LargeVector<float> centroids;
  // Sum of squared distances of the rows to the means of their clusters, in the space of the clustering, in
  // double; from the rows themselves where centroids were formed in plain parameters, else from the Gram
  // matrix.
  double inertia = 0;
  int64_t iterations = 0;   // Lloyd iterations of the kept start; 0 where no start was needed
  int64_t reseeded = 0;     // empty clusters that were given a row in the kept start
  int64_t exchanged = 0;    // rows that exchanges moved after Lloyd's iteration, in the kept start
  int64_t seeded_from = 0;  // rows that k-means++ drew from
  Quality quality;
  std::vector<CountTried> counts_tried;  // by auto_k
  std::string path;                      // "gram" or "fused"
  std::string gram;                      // path "gram": "float32" or "float64", what products were formed in
  std::string device;                    // "cpu" or "cuda"
  int64_t bytes_read = 0;                // of the rows, wherever they lie, over all passes
};

// Clusters the rows. With no more distinct rows than k each is its own cluster, and a cluster c without rows
// repeats centroid c mod (number of distinct rows). The result does not depend on the number of threads.
// Errors: Usage (k, n_init, max_iter or most_k below 1, tol negative or not finite, no rows, no columns, a
// space that does not fit), NonFinite (names row, column and tensor), Unsupported (more rows than the gram
// path takes where only it will do; a device that is not there), Io, OutOfMemory, Aborted.
KmeansResult kmeans(const RowSet& rows, const KmeansOptions& options);

// The same for several independent problems of one shape, with the same options. On the CPU they are solved
// one after another; the fused path on CUDA runs them all at once. Errors: also Shape (problems of different
// shapes).
std::vector<KmeansResult> kmeans_batch(std::span<const RowSet* const> problems, const KmeansOptions& options);

// The same for rows in memory: n pointers to `columns` float32 values each.
KmeansResult kmeans(std::span<const float* const> rows, int64_t columns, const KmeansOptions& options);

}  // namespace fltac
