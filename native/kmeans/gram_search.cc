#include "kmeans/gram_search.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "core/philox.h"
#include "kmeans/certificate.h"
#include "kmeans/gram.h"
#include "kmeans/labels.h"
#include "kmeans/lloyd.h"
#include "kmeans/quality.h"

namespace fltac {
namespace {

// Rows are compared value by value only where the Gram matrix says that they are as good as equal. Its error
// is far below this share of the squared norms (see gram.h).
constexpr double kEqualShare = 1e-9;

// Starts whose inertia differs by less than this share of the total count as equal; the first of them is
// kept.
constexpr double kInertiaShare = 1e-12;

// Of two numbers of clusters whose silhouettes differ by less than this, the smaller is taken.
constexpr double kSilhouetteStep = 1e-12;

struct DistinctRows {
  std::vector<int32_t> group;  // [n] number of the distinct row that each row equals, by first appearance
  std::vector<int64_t> first;  // first row of each group
  std::vector<double> multiplicity;  // rows in each group

  int64_t count() const { return static_cast<int64_t>(first.size()); }
};

DistinctRows find_distinct(const RowSet& rows, const std::vector<double>& gram) {
  const auto n = static_cast<size_t>(rows.rows());
  DistinctRows distinct;
  distinct.group.resize(n);
  const auto equal = [&](size_t i, size_t j) {
    const double norms = gram[i * n + i] + gram[j * n + j];
    return norms - 2.0 * gram[i * n + j] <= kEqualShare * norms &&
           rows.equal(static_cast<int64_t>(i), static_cast<int64_t>(j));
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
  points.n = distinct.count();
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

class GramSearch {
 public:
  GramSearch(const GramPoints& points, const KmeansOptions& options, double total, double tolerance)
      : points_(points), options_(options), total_(total), tolerance_(tolerance) {}

  // Runs all starts, side by side on the one Gram matrix, and keeps the best; none where `error` may have
  // decided.
  std::optional<LloydResult> best_start(int64_t k, const std::optional<GramError>& error) const {
    const LloydOptions lloyd{k, options_.max_iter, tolerance_, options_.exchange, options_.cancelled};
    std::vector<LloydResult> results(static_cast<size_t>(options_.n_init));
    at::parallel_for(0, options_.n_init, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> draws(static_cast<size_t>(draws_for(k)));
      for (int64_t start = begin; start < end; ++start) {
        philox_doubles(options_.seed, static_cast<uint32_t>(start), static_cast<int64_t>(draws.size()),
                       draws.data());
        results[static_cast<size_t>(start)] = run_start(points_, lloyd, draws);
      }
    });
    size_t best = 0;
    for (size_t s = 1; s < results.size(); ++s) {
      if (results[s].inertia < results[best].inertia - kInertiaShare * total_) best = s;
    }
    if (error && !decided_beyond(*error, points_, k, results[best], results)) return std::nullopt;
    return std::move(results[best]);
  }

  // The number of clusters, from 2 to the most that is allowed, whose clustering has the largest mean
  // silhouette (Rousseeuw, 1987). Needs three points or more.
  LloydResult best_count(KmeansResult& result) const {
    const int64_t most = std::min(options_.most_k, points_.n - 1);
    LloydResult best;
    double most_silhouette = 0;
    for (int64_t k = 2; k <= most; ++k) {
      LloydResult found = *best_start(k, std::nullopt);
      const double silhouette = mean_silhouette(points_, silhouettes(points_, k, found.labels));
      result.counts_tried.push_back({k, silhouette, found.inertia});
      if (k > 2 && silhouette <= most_silhouette + kSilhouetteStep) continue;
      most_silhouette = silhouette;
      best = std::move(found);
      result.k = k;
    }
    return best;
  }

 private:
  const GramPoints& points_;
  const KmeansOptions& options_;
  double total_, tolerance_;
};

// A value of each point becomes one of each row.
void spread(const DistinctRows& distinct, std::vector<double>& values) {
  if (values.empty()) return;
  std::vector<double> of_rows(distinct.group.size());
  for (size_t i = 0; i < of_rows.size(); ++i) of_rows[i] = values[static_cast<size_t>(distinct.group[i])];
  values = std::move(of_rows);
}

}  // namespace

bool search_in_gram(const RowSet& rows, std::vector<double> gram, const std::optional<GramError>& error,
                    const KmeansOptions& options, KmeansResult& result) {
  const int64_t n = rows.rows();
  const double total = trace(gram, n);
  const double values = static_cast<double>(n) * static_cast<double>(feature_count(rows, options.space));
  const DistinctRows distinct = find_distinct(rows, gram);
  const GramPoints points = points_of(distinct, std::move(gram));
  const GramSearch search(points, options, total, options.tol * total / values);
  LloydResult best;
  if (!options.auto_k && points.n > options.k) {
    std::optional<LloydResult> found = search.best_start(options.k, error);
    if (!found) return false;
    best = std::move(*found);
  }
  result.k = options.auto_k ? std::min<int64_t>(points.n, 2) : options.k;
  if (options.auto_k && points.n > 2) {
    best = search.best_count(result);
  } else if (best.labels.empty()) {
    // Every distinct row is a cluster.
    best.labels.resize(static_cast<size_t>(points.n));
    for (size_t i = 0; i < best.labels.size(); ++i) best.labels[i] = static_cast<int32_t>(i);
  }
  number_by_appearance(best.labels, result.k);
  result.quality = judge(points, result.k, best.labels);
  for (std::vector<double>* of_points :
       {&result.quality.own, &result.quality.next, &result.quality.margin, &result.quality.silhouette}) {
    spread(distinct, *of_points);
  }
  result.labels = distinct.group;
  for (int32_t& label : result.labels) label = best.labels[static_cast<size_t>(label)];
  result.seeded_from = n;
  result.inertia = best.inertia;
  result.iterations = best.iterations;
  result.reseeded = best.reseeded;
  result.exchanged = best.exchanged;
  return true;
}

}  // namespace fltac
