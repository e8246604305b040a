// K-means against a plain reference, and the rules of native/kmeans/kmeans.h.
#include "kmeans/kmeans.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <limits>

#include "check.h"
#include "core/philox.h"
#include "kmeans/gram.h"
#include "kmeans/lloyd.h"
#include "kmeans_data.h"
#include "kmeans_reference.h"

namespace {

using namespace fltac;
using namespace fltac::test;

KmeansOptions options_of(int64_t k, uint64_t seed = 0, int64_t n_init = 10) {
  KmeansOptions options;
  options.k = k;
  options.seed = seed;
  options.n_init = n_init;
  return options;
}

KmeansResult cluster(const Data& data, const KmeansOptions& options) {
  const auto rows = data.rows();
  return kmeans(rows, data.columns(), options);
}

double spread_of(const std::vector<Point>& points) {
  return inertia_of(points, std::vector<int32_t>(points.size(), 0), 1);
}

// Distances between rows are the differences of Gram entries, whatever the number of rows, columns and
// threads.
void gram_matches_direct_products() {
  for (const auto& [n, columns] : {std::pair{1, 1},
                                   {2, 63},
                                   {7, 64},
                                   {7, 65},
                                   {50, 513},
                                   {129, 700},
                                   {300, 1500},
                                   {5, 8193},
                                   {40, 9000}}) {
    const Data data = blobs(static_cast<uint64_t>(n + columns), n, columns, 3, 4.0, 1e4);
    const auto points = data.points();
    const auto rows = data.rows();
    const RowSet set(rows, columns);
    const std::vector<double> gram = gram_of_columns(set, {0, columns}, Origin::kMean, {});
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const auto at = [&](int64_t a, int64_t b) { return gram[static_cast<size_t>(a * n + b)]; };
        const double expected =
            squared_distance(points[static_cast<size_t>(i)], points[static_cast<size_t>(j)]);
        worst = std::max(worst, std::abs(at(i, i) + at(j, j) - 2 * at(i, j) - expected));
      }
    }
    EXPECT(worst <= 1e-13 * spread_of(points), "n", n, "columns", columns, "worst", worst);
    at::set_num_threads(1);
    EXPECT(gram == gram_of_columns(set, {0, columns}, Origin::kMean, {}), "differs with one thread; n", n,
           "columns", columns);
    at::set_num_threads(2);
  }
}

// With the same draws, the Gram path takes the same path as the reference on coordinates.
void one_start_matches_the_reference() {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (const double offset : {0.0, 1e4}) {
      const int64_t n = 20 + static_cast<int64_t>(seed) * 3, k = 2 + static_cast<int64_t>(seed) % 7;
      const Data data = blobs(seed, n, 40, 5, 1.0, offset);
      KmeansOptions options = options_of(k, seed, 1);
      options.tol = 0;
      options.exchange = false;
      options.max_iter = 1 + static_cast<int64_t>(seed) % 10;
      std::vector<double> draws(static_cast<size_t>(draws_for(k)));
      philox_doubles(seed, 0, draws_for(k), draws.data());
      const auto expected =
          reference_kmeans(data.points(), static_cast<size_t>(k), options.max_iter, candidates_for(k), draws);
      const KmeansResult result = cluster(data, options);
      if (result.reseeded > 0) continue;  // the reference knows no re-seeding
      EXPECT(result.labels == by_appearance(expected.labels), "seed", seed, "offset", offset);
      EXPECT(result.iterations == expected.iterations, "seed", seed, result.iterations, expected.iterations);
      EXPECT_NEAR(result.inertia, expected.inertia, 1e-9 * expected.inertia);
    }
  }
}

// All partitions of few points into k clusters, the best inertia among them.
double best_inertia(const std::vector<Point>& points, size_t k) {
  std::vector<int32_t> labels(points.size(), 0);
  double best = std::numeric_limits<double>::infinity();
  for (size_t at = 0; at < labels.size();) {
    best = std::min(best, inertia_of(points, labels, k));
    at = 0;
    while (at < labels.size() && ++labels[at] == static_cast<int32_t>(k)) labels[at++] = 0;
  }
  return best;
}

void finds_the_optimum_of_small_problems() {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const Data data = blobs(100 + seed, 8, 3, 3, 2.0);
    const size_t k = 2 + seed % 2;
    const KmeansResult result = cluster(data, options_of(static_cast<int64_t>(k), seed, 20));
    const double best = best_inertia(data.points(), k);
    EXPECT_NEAR(result.inertia, best, 1e-9 * best);
  }
}

void results_describe_the_clustering() {
  const Data data = blobs(7, 60, 700, 4, 0.5, -300.0);
  const auto points = data.points();
  const KmeansResult result = cluster(data, options_of(4));
  EXPECT(result.path == "gram");
  EXPECT(result.labels.size() == 60 && result.counts.size() == 4 && result.centroids.size() == 4 * 700);
  EXPECT(result.iterations >= 1 && result.iterations <= 300);
  EXPECT_NEAR(result.inertia, inertia_of(points, result.labels, 4), 1e-12 * result.inertia);
  std::vector<Point> means(4, Point(700));
  move_to_means(points, result.labels, means);
  EXPECT(nearest(points, means) == result.labels, "labels are not those of the nearest means");
  bool exact = true;
  for (size_t v = 0; v < result.centroids.size(); ++v) {
    exact = exact &&
            std::abs(result.centroids[v] - means[v / 700][v % 700]) <= 3e-5;  // half a float32 step at 300
  }
  EXPECT(exact, "centroids are not the means of the clusters");
  for (size_t c = 0; c < 4; ++c) {
    EXPECT(result.counts[c] ==
           std::count(result.labels.begin(), result.labels.end(), static_cast<int32_t>(c)));
  }
}

void inertia_falls_with_every_iteration() {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Data data = blobs(200 + seed, 80, 30, 6, 0.3);
    KmeansOptions options = options_of(6, seed, 1);
    options.tol = 0;
    options.exchange = seed % 2 == 1;
    double before = std::numeric_limits<double>::infinity();
    for (options.max_iter = 1; options.max_iter <= 12; ++options.max_iter) {
      const double inertia = cluster(data, options).inertia;
      EXPECT(inertia <= before * (1 + 1e-12), "seed", seed, "iterations", options.max_iter, inertia, before);
      before = inertia;
    }
  }
}

void more_starts_and_a_zero_tol_are_no_worse() {
  const Data data = blobs(11, 100, 50, 10, 0.5);
  KmeansOptions options = options_of(10, 3, 1);
  const double one = cluster(data, options).inertia;
  options.n_init = 10;
  const double ten = cluster(data, options).inertia;
  EXPECT(ten <= one, ten, one);
  options.exchange = false;
  options.tol = 1.0;  // wide enough to stop early
  EXPECT(cluster(data, options).inertia >= ten * (1 - 1e-12));
}

// No row can be moved to another cluster with less inertia, and exchanges never do harm.
void exchanges_leave_no_better_single_move() {
  int64_t exchanged = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Data data = blobs(500 + seed, 25, 400, 5, 0.4, 100.0);
    const auto points = data.points();
    KmeansOptions options = options_of(5, seed, 1);
    const KmeansResult result = cluster(data, options);
    options.exchange = false;
    const double plain = cluster(data, options).inertia;
    EXPECT(result.inertia <= plain * (1 + 1e-12), "seed", seed, result.inertia, plain);
    EXPECT(result.exchanged > 0 || result.inertia == plain, "seed", seed);
    exchanged += result.exchanged;
    for (size_t i = 0; i < points.size(); ++i) {
      if (result.counts[static_cast<size_t>(result.labels[i])] == 1) continue;
      for (int32_t c = 0; c < 5; ++c) {
        std::vector<int32_t> moved = result.labels;
        moved[i] = c;
        EXPECT(inertia_of(points, moved, 5) >= result.inertia * (1 - 1e-9), "seed", seed, "row", i, "to", c);
      }
    }
  }
  EXPECT(exchanged > 0, "no exchange was ever made");
}

void the_result_depends_on_seed_alone() {
  const Data data = blobs(12, 70, 3000, 7, 0.1);
  at::set_num_threads(2);
  const KmeansResult two = cluster(data, options_of(7, 5));
  at::set_num_threads(1);
  const KmeansResult one = cluster(data, options_of(7, 5));
  at::set_num_threads(2);
  EXPECT(one.labels == two.labels && one.centroids == two.centroids && one.inertia == two.inertia);
  EXPECT(one.iterations == two.iterations);
  bool differs = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    differs = differs || cluster(data, options_of(7, seed, 1)).labels !=
                             cluster(data, options_of(7, 100 + seed, 1)).labels;
  }
  EXPECT(differs, "forty seeds gave the same clustering of data without clusters");
}

void a_shift_of_all_rows_changes_nothing() {
  Data data = blobs(13, 40, 500, 4, 0.5);
  for (auto& row : data.values) {
    for (float& x : row) x = std::round(x * 64) / 64;  // so that the shift below is exact in float32
  }
  const KmeansResult still = cluster(data, options_of(4));
  for (auto& row : data.values) {
    for (float& x : row) x += 16384;
  }
  const KmeansResult moved = cluster(data, options_of(4));
  EXPECT(still.labels == moved.labels);
  EXPECT_NEAR(still.inertia, moved.inertia, 1e-10 * still.inertia);
}

void no_more_rows_than_clusters_stay_alone() {
  const Data data = blobs(14, 3, 10, 3, 2.0);
  for (const int64_t k : {3, 5}) {
    const KmeansResult result = cluster(data, options_of(k));
    EXPECT(result.labels == (std::vector<int32_t>{0, 1, 2}));
    EXPECT(result.inertia == 0.0 && result.iterations == 0);
    for (int64_t c = 0; c < k; ++c) {
      EXPECT(result.counts[static_cast<size_t>(c)] == (c < 3 ? 1 : 0));
      EXPECT(std::equal(data.values[static_cast<size_t>(c % 3)].begin(),
                        data.values[static_cast<size_t>(c % 3)].end(), result.centroids.begin() + c * 10));
    }
  }
}

void one_cluster_is_the_mean() {
  const Data data = blobs(15, 9, 20, 2, 3.0);
  const KmeansResult result = cluster(data, options_of(1));
  EXPECT(result.labels == std::vector<int32_t>(9, 0));
  EXPECT_NEAR(result.inertia, spread_of(data.points()), 1e-12 * result.inertia);
}

void equal_rows_share_a_label() {
  Data data = blobs(16, 6, 30, 6, 1.0);
  for (int copy = 0; copy < 4; ++copy) {
    for (size_t i = 0; i < 6; ++i) data.values.push_back(data.values[i]);
  }
  for (int64_t k = 1; k <= 10; ++k) {
    const KmeansResult result = cluster(data, options_of(k));
    for (size_t i = 6; i < data.values.size(); ++i)
      EXPECT(result.labels[i] == result.labels[i % 6], "k", k, "row", i);
    if (k >= 6) EXPECT(result.inertia < 1e-20 * spread_of(data.points()), result.inertia);
    const auto used =
        std::count_if(result.counts.begin(), result.counts.end(), [](int64_t c) { return c > 0; });
    EXPECT(used == std::min<int64_t>(k, 6), "k", k, "used", used);
  }
  Data same;
  same.values.assign(8, {1.0f, -0.0f});
  same.values[3][1] = 0.0f;
  const KmeansResult result = cluster(same, options_of(3));
  EXPECT(result.labels == std::vector<int32_t>(8, 0) && result.inertia == 0.0);
}

void empty_clusters_are_seeded_again() {
  int64_t reseeded = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Data data = blobs(300 + seed, 12, 1, 12, 0.5);
    const KmeansResult result = cluster(data, options_of(8, seed, 1));
    reseeded += result.reseeded;
    for (const int64_t count : result.counts) EXPECT(count > 0, "seed", seed);
  }
  // A point to which another is closer than rounding leaves no distance to sample by.
  Data close;
  for (int i = 0; i < 6; ++i) close.values.push_back({1.0f, i < 3 ? 0.0f : 1e6f});
  for (size_t i = 0; i < 6; ++i)
    close.values[i][0] += static_cast<float>(i % 3) * std::numeric_limits<float>::epsilon();
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const KmeansResult result = cluster(close, options_of(5, seed, 1));
    reseeded += result.reseeded;
    for (const int64_t count : result.counts) EXPECT(count > 0, "seed", seed);
  }
  EXPECT(reseeded > 0, "no run met an empty cluster");
}

void bad_input_is_named() {
  Data data = blobs(17, 5, 700, 2, 1.0);
  EXPECT_FAILS(ErrorCode::Usage, "k of 1 or more, found 0", cluster(data, options_of(0)));
  EXPECT_FAILS(ErrorCode::Usage, "nInit", cluster(data, options_of(2, 0, 0)));
  EXPECT_FAILS(ErrorCode::Usage, "nInit", cluster(data, options_of(2, 0, 2'000'000)));
  EXPECT_FAILS(ErrorCode::Usage, "rows", kmeans({}, 3, options_of(1)));
  EXPECT_FAILS(ErrorCode::Usage, "columns", kmeans(data.rows(), 0, options_of(1)));
  KmeansOptions options = options_of(2);
  options.tol = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FAILS(ErrorCode::Usage, "tol", cluster(data, options));
  options.tol = 0;
  options.max_iter = 0;
  EXPECT_FAILS(ErrorCode::Usage, "maxIter", cluster(data, options));
  const std::vector<const float*> many(20000, data.values[0].data());
  options = options_of(2);
  options.path = KmeansPath::kGram;
  EXPECT_FAILS(ErrorCode::Unsupported, "20000", kmeans(many, 3, options));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    Data spoilt = data;
    spoilt.values[3][677] = bad;
    spoilt.values[1][699] = bad;
    EXPECT_FAILS(ErrorCode::NonFinite, "row 3", cluster(spoilt, options_of(2)));
    EXPECT_FAILS(ErrorCode::NonFinite, "column 677", cluster(spoilt, options_of(2)));
  }
  data.values[0][0] = std::numeric_limits<float>::max();
  data.values[1][0] = -std::numeric_limits<float>::max();
  EXPECT(std::isfinite(cluster(data, options_of(2)).inertia), "the largest float32 values are finite");
}

void the_work_can_be_stopped() {
  const Data data = blobs(18, 40, 100000, 4, 0.5);
  KmeansOptions options = options_of(4);
  std::atomic<int> asked{0};
  options.cancelled = [&] { return ++asked > 3; };
  EXPECT_FAILS(ErrorCode::Aborted, "stopped", cluster(data, options));
  options.cancelled = [&] { return false; };
  EXPECT(cluster(data, options).labels == cluster(data, options_of(4)).labels);
}

}  // namespace

int main() {
  return run("kmeans_test", [] {
    at::set_num_threads(2);
    gram_matches_direct_products();
    one_start_matches_the_reference();
    finds_the_optimum_of_small_problems();
    results_describe_the_clustering();
    inertia_falls_with_every_iteration();
    more_starts_and_a_zero_tol_are_no_worse();
    exchanges_leave_no_better_single_move();
    the_result_depends_on_seed_alone();
    a_shift_of_all_rows_changes_nothing();
    no_more_rows_than_clusters_stay_alone();
    one_cluster_is_the_mean();
    equal_rows_share_a_label();
    empty_clusters_are_seeded_again();
    bad_input_is_named();
    the_work_can_be_stopped();
  });
}
