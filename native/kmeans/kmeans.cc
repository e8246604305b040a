#include "kmeans/kmeans.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/philox.h"
#include "kmeans/average.h"
#include "kmeans/gram.h"
#include "kmeans/lloyd.h"

namespace fltac {
namespace {

constexpr int64_t kMaxGramRows = 16384;  // an n x n matrix of doubles of 2 GiB

constexpr int64_t kMaxStarts = 1'000'000;  // their results are held until all are done

// Rows are compared value by value only where the Gram matrix says that they are as good as equal. Its error
// is far below this share of the squared norms (see centred_gram).
constexpr double kEqualShare = 1e-9;

// Starts whose inertia differs by less than this share of the total count as equal; the first of them is
// kept.
constexpr double kInertiaShare = 1e-12;

struct DistinctRows {
  std::vector<int32_t> group;  // [n] number of the distinct row that each row equals, by first appearance
  std::vector<int64_t> first;  // first row of each group
  std::vector<double> multiplicity;  // rows in each group
};

void check(std::span<const float* const> rows, int64_t columns, const KmeansOptions& options) {
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1) fail(ErrorCode::Usage, "K-means needs ", name, " of 1 or more, found ", value);
  };
  at_least_one("k", options.k);
  at_least_one("n_init", options.n_init);
  at_least_one("max_iter", options.max_iter);
  at_least_one("a number of rows", static_cast<int64_t>(rows.size()));
  at_least_one("a number of columns", columns);
  if (!std::isfinite(options.tol) || options.tol < 0) {
    fail(ErrorCode::Usage, "K-means needs a tol that is finite and not negative, found ", options.tol);
  }
  const auto at_most = [](const char* name, int64_t value, int64_t limit) {
    if (value > limit)
      fail(ErrorCode::Usage, "K-means takes ", name, " of at most ", limit, ", found ", value);
  };
  at_most("k", options.k, kMaxGramRows);
  at_most("n_init", options.n_init, kMaxStarts);
  if (static_cast<int64_t>(rows.size()) > kMaxGramRows) {
    fail(ErrorCode::Unsupported, "K-means in Gram space takes at most ", kMaxGramRows, " rows, found ",
         rows.size(), ": pass fewer rows");
  }
}

DistinctRows find_distinct(std::span<const float* const> rows, int64_t columns,
                           const std::vector<double>& gram) {
  const size_t n = rows.size();
  DistinctRows distinct;
  distinct.group.resize(n);
  const auto equal = [&](size_t i, size_t j) {
    const double norms = gram[i * n + i] + gram[j * n + j];
    return norms - 2.0 * gram[i * n + j] <= kEqualShare * norms &&
           std::equal(rows[i], rows[i] + columns, rows[j]);
  };
  for (size_t i = 0; i < n; ++i) {
    size_t g = 0;
    while (g < distinct.first.size() && !equal(i, static_cast<size_t>(distinct.first[g]))) ++g;
    if (g == distinct.first.size()) {
      distinct.first.push_back(static_cast<int64_t>(i));
      distinct.multiplicity.push_back(0);
    }
    distinct.group[i] = static_cast<int32_t>(g);
    distinct.multiplicity[g] += 1;
  }
  return distinct;
}

GramPoints points_of(const DistinctRows& distinct, std::vector<double> gram) {
  GramPoints points;
  points.n = static_cast<int64_t>(distinct.first.size());
  points.weight = distinct.multiplicity;
  if (distinct.first.size() == distinct.group.size()) {
    points.gram = std::move(gram);
    return points;
  }
  const auto n = static_cast<int64_t>(distinct.group.size());
  for (const int64_t i : distinct.first) {
    for (const int64_t j : distinct.first) points.gram.push_back(gram[static_cast<size_t>(i * n + j)]);
  }
  return points;
}

// Runs all starts, side by side, and keeps the best.
LloydResult best_start(const GramPoints& points, const KmeansOptions& options, const LloydOptions& lloyd,
                       double total) {
  std::vector<LloydResult> results(static_cast<size_t>(options.n_init));
  at::parallel_for(0, options.n_init, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> draws(static_cast<size_t>(draws_for(options.k)));
    for (int64_t start = begin; start < end; ++start) {
      philox_doubles(options.seed, static_cast<uint32_t>(start), static_cast<int64_t>(draws.size()),
                     draws.data());
      results[static_cast<size_t>(start)] = run_start(points, lloyd, draws);
    }
  });
  size_t best = 0;
  for (size_t s = 1; s < results.size(); ++s) {
    if (results[s].inertia < results[best].inertia - kInertiaShare * total) best = s;
  }
  return std::move(results[best]);
}

// Renumbers labels by first appearance, so that one clustering has one spelling.
void number_by_appearance(std::vector<int32_t>& labels, int64_t k) {
  std::vector<int32_t> name(static_cast<size_t>(k), -1);
  int32_t next = 0;
  for (int32_t& label : labels) {
    int32_t& given = name[static_cast<size_t>(label)];
    if (given < 0) given = next++;
    label = given;
  }
}

// Counts, centroids and inertia of `labels`, from the rows themselves.
void finish(std::span<const float* const> rows, int64_t columns, int64_t k, KmeansResult& result) {
  result.counts.assign(static_cast<size_t>(k), 0);
  for (const int32_t label : result.labels) ++result.counts[static_cast<size_t>(label)];
  result.centroids.resize(static_cast<size_t>(k * columns));
  result.inertia = cluster_means(rows, columns, result.labels, k, result.centroids.data());
  const auto used =
      std::count_if(result.counts.begin(), result.counts.end(), [](int64_t c) { return c > 0; });
  for (int64_t c = used; c < k; ++c) {
    std::copy_n(result.centroids.begin() + c % used * columns, columns,
                result.centroids.begin() + c * columns);
  }
}

}  // namespace

KmeansResult kmeans(std::span<const float* const> rows, int64_t columns, const KmeansOptions& options) {
  check(rows, columns, options);
  std::vector<double> gram = centred_gram(rows, columns, options.cancelled);
  const auto n = static_cast<int64_t>(rows.size());
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += gram[static_cast<size_t>(i * (n + 1))];

  KmeansResult result;
  result.path = "gram";
  const DistinctRows distinct = find_distinct(rows, columns, gram);
  result.labels = distinct.group;
  if (static_cast<int64_t>(distinct.first.size()) > options.k) {
    const double mean_variance = total / (static_cast<double>(n) * static_cast<double>(columns));
    const LloydOptions lloyd{options.k, options.max_iter, options.tol * mean_variance, options.exchange,
                             options.cancelled};
    const LloydResult best = best_start(points_of(distinct, std::move(gram)), options, lloyd, total);
    for (int32_t& label : result.labels) label = best.labels[static_cast<size_t>(label)];
    number_by_appearance(result.labels, options.k);
    result.iterations = best.iterations;
    result.reseeded = best.reseeded;
    result.exchanged = best.exchanged;
  }
  stop_if_cancelled(options.cancelled);
  finish(rows, columns, options.k, result);
  return result;
}

}  // namespace fltac
