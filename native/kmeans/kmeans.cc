#include "kmeans/kmeans.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "core/error.h"
#include "kmeans/average.h"
#include "kmeans/cuda/cuda.h"
#include "kmeans/fused.h"
#include "kmeans/gram.h"
#include "kmeans/gram_search.h"
#include "kmeans/labels.h"

namespace fltac {
namespace {

// Up to this many rows the n x n matrix is nothing; up to the next, it costs less than the rows themselves
// where they are at least as long as they are many.
constexpr int64_t kFewRows = 512;
constexpr int64_t kFewLongRows = 4096;

// From this many rows on, products in double take longer than reading the rows.
constexpr int64_t kFastGramRows = 32;

constexpr int64_t kMaxClusters = 1'000'000;
constexpr int64_t kMaxStarts = 1'000'000;  // their results are held until all are done

// Multiplications in double below which rows in main memory are not worth sending to a GPU.
constexpr double kWorthSending = 2e10;

void check(const RowSet& rows, const KmeansOptions& options) {
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1) fail(ErrorCode::Usage, "K-means needs ", name, " of 1 or more, found ", value);
  };
  if (!options.auto_k) at_least_one("k", options.k);
  at_least_one("nInit", options.n_init);
  at_least_one("maxIter", options.max_iter);
  at_least_one("a number of rows", rows.rows());
  at_least_one("a number of columns", rows.columns());
  if (options.auto_k && options.most_k < 2)
    fail(ErrorCode::Usage, "K-means needs a mostK of 2 or more to choose k, found ", options.most_k);
  if (!std::isfinite(options.tol) || options.tol < 0) {
    fail(ErrorCode::Usage, "K-means needs a tol that is finite and not negative, found ", options.tol);
  }
  const auto at_most = [](const char* name, int64_t value, int64_t limit) {
    if (value > limit)
      fail(ErrorCode::Usage, "K-means takes ", name, " of at most ", limit, ", found ", value);
  };
  at_most("k", options.k, kMaxClusters);
  at_most("nInit", options.n_init, kMaxStarts);
}

// What only the gram path can do and the options ask for; null for nothing.
const char* gram_only(const KmeansOptions& options) {
  if (options.path == KmeansPath::kGram) return "the path \"gram\"";
  if (options.auto_k) return "choosing k";
  if (options.space.kind == SpaceOptions::Kind::kDeltaW) return "the space \"delta_w\"";
  if (options.space.standardize) return "standardize";
  return options.space.cosine ? "cosine" : nullptr;
}

KmeansPath choose_path(const RowSet& rows, const KmeansOptions& options) {
  const char* reason = gram_only(options);
  if (reason != nullptr) {
    if (options.path == KmeansPath::kFused)
      fail(ErrorCode::Unsupported, reason, " needs the path \"gram\", but \"fused\" was asked for");
    if (rows.rows() > kMaxGramRows) {
      fail(ErrorCode::Unsupported, reason, " needs a Gram matrix, which is formed for at most ", kMaxGramRows,
           " rows, found ", rows.rows(), ": pass fewer rows");
    }
    return KmeansPath::kGram;
  }
  if (options.path == KmeansPath::kFused) return KmeansPath::kFused;
  const int64_t n = rows.rows();
  return n <= kFewRows || (n <= kFewLongRows && rows.columns() >= n) ? KmeansPath::kGram : KmeansPath::kFused;
}

KmeansDevice choose_device(const RowSet& rows, const KmeansOptions& options, KmeansPath path) {
  if (options.device == KmeansDevice::kCpu) return KmeansDevice::kCpu;
  const bool delta_w = options.space.kind == SpaceOptions::Kind::kDeltaW;
  if (options.device == KmeansDevice::kCuda) {
    if (delta_w)
      fail(ErrorCode::Unsupported, "the space \"delta_w\" is computed on the CPU only: leave device out");
    cuda::require_device();
    return KmeansDevice::kCuda;
  }
  const auto n = static_cast<double>(rows.rows()), d = static_cast<double>(rows.columns());
  const double work = path == KmeansPath::kGram
                          ? n * n * d / 2
                          : n * d * static_cast<double>(options.k * options.n_init * 10);
  const bool worth_it = work >= kWorthSending && !delta_w && cuda::device_present();
  return worth_it ? KmeansDevice::kCuda : KmeansDevice::kCpu;
}

// Centroids and exact inertia, in one more pass over the rows.
void form_centroids(const RowSet& rows, const KmeansOptions& options, KmeansResult& result) {
  const int64_t k = result.k, columns = rows.columns();
  result.centroids.resize(static_cast<size_t>(k * columns));  // set below, or by repeat_centroids
  const double inertia = cluster_means(rows, result.labels, k, result.centroids.data());
  if (options.space.plain()) result.inertia = inertia;
}

// Clusters without rows repeat the centroids of those that have some.
void repeat_centroids(int64_t columns, KmeansResult& result) {
  const auto used =
      std::count_if(result.counts.begin(), result.counts.end(), [](int64_t count) { return count > 0; });
  for (int64_t c = used; c < result.k; ++c) {
    std::copy_n(result.centroids.begin() + c % used * columns, columns,
                result.centroids.begin() + c * columns);
  }
}

// Fills in what does not lie in memory.
class Resident {
 public:
  explicit Resident(const RowSet& rows) : set_(&rows) {
    if (rows.in_memory()) return;
    values_.resize(static_cast<size_t>(rows.rows() * rows.columns()));
    for (int64_t first = 0; first < rows.columns(); first += rows.block_columns()) {
      const int64_t width = std::min(rows.block_columns(), rows.columns() - first);
      const ColumnBlock block = rows.read(first, width);
      for (size_t i = 0; i < block.rows.size(); ++i) {
        std::copy_n(block.rows[i], width, values_.begin() + static_cast<int64_t>(i) * rows.columns() + first);
      }
    }
    copy_.emplace(rows.columns());
    for (int64_t i = 0; i < rows.rows(); ++i) copy_->add_row(values_.data() + i * rows.columns());
    if (!rows.tensors().empty()) copy_->set_tensors(rows.tensors());
    set_ = &*copy_;
  }

  const RowSet& rows() const { return *set_; }

 private:
  const RowSet* set_;
  std::vector<float> values_;
  std::optional<RowSet> copy_;
};

// Clusters by products in float32; false if they may have decided the outcome, or overflowed.
bool search_fast(const RowSet& rows, const KmeansOptions& options, KmeansResult& result) {
  std::vector<double> gram = fast_gram(rows, options.cancelled);
  if (!std::isfinite(trace(gram, rows.rows()))) return false;
  return search_in_gram(rows, std::move(gram), error_of_fast_gram(rows.columns()), options, result);
}

void run_gram(const RowSet& rows, const KmeansOptions& options, bool on_gpu, KmeansResult& result) {
  const bool fast = options.gram == KmeansGram::kAuto && options.space.plain() && options.centroids &&
                    !options.auto_k && !on_gpu && rows.rows() >= kFastGramRows;
  if (fast && search_fast(rows, options, result)) {
    result.gram = "float32";
  } else {
    const ColumnGram column_gram = on_gpu ? cuda::gram_of_columns : gram_of_columns;
    search_in_gram(rows, feature_gram(rows, options.space, column_gram, options.cancelled), std::nullopt,
                   options, result);
    result.gram = "float64";
  }
  stop_if_cancelled(options.cancelled);
  result.counts = count_labels(result.labels, result.k);
  if (options.centroids) form_centroids(rows, options, result);
  result.bytes_read = rows.bytes_read();
}

void run_fused_path(std::span<const RowSet* const> problems, const KmeansOptions& options, bool on_gpu,
                    std::span<KmeansResult> results) {
  std::deque<Resident> resident;
  std::vector<const RowSet*> sets;
  for (const RowSet* problem : problems) sets.push_back(&resident.emplace_back(*problem).rows());
  search_fused(sets, options, on_gpu ? cuda::run_fused : run_fused, results);
  for (size_t i = 0; i < sets.size(); ++i) {
    results[i].bytes_read += sets[i]->bytes_read();
    if (sets[i] != problems[i]) results[i].bytes_read += problems[i]->bytes_read();
  }
}

}  // namespace

std::vector<KmeansResult> kmeans_batch(std::span<const RowSet* const> problems,
                                       const KmeansOptions& options) {
  if (problems.empty()) return {};
  const RowSet& first = *problems.front();
  for (const RowSet* problem : problems) {
    check(*problem, options);
    if (problem->rows() != first.rows() || problem->columns() != first.columns()) {
      fail(ErrorCode::Shape, "the problems of a batch must have one shape, found ", first.rows(), " x ",
           first.columns(), " and ", problem->rows(), " x ", problem->columns());
    }
  }
  const KmeansPath path = choose_path(first, options);
  const bool on_gpu = choose_device(first, options, path) == KmeansDevice::kCuda;
  std::vector<KmeansResult> results(problems.size());
  if (path == KmeansPath::kFused) {
    run_fused_path(problems, options, on_gpu, results);
  } else {
    for (size_t i = 0; i < results.size(); ++i) run_gram(*problems[i], options, on_gpu, results[i]);
  }
  for (KmeansResult& result : results) {
    result.path = path == KmeansPath::kGram ? "gram" : "fused";
    result.device = on_gpu ? "cuda" : "cpu";
    if (options.centroids) repeat_centroids(first.columns(), result);
  }
  return results;
}

KmeansResult kmeans(const RowSet& rows, const KmeansOptions& options) {
  const RowSet* const problem = &rows;
  return std::move(kmeans_batch({&problem, 1}, options).front());
}

KmeansResult kmeans(std::span<const float* const> rows, int64_t columns, const KmeansOptions& options) {
  return kmeans(RowSet(rows, columns), options);
}

}  // namespace fltac
