// Gram matrices in float32: their error bound, and what K-means does where it may have decided.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "core/lanes.h"
#include "core/philox.h"
#include "kmeans/certificate.h"
#include "kmeans/kmeans.h"
#include "kmeans_data.h"
#include "kmeans_reference.h"

namespace {

using namespace fltac;
using namespace fltac::test;

KmeansResult cluster(const Data& data, int64_t k, KmeansGram gram = KmeansGram::kAuto, bool exchange = true,
                     int64_t n_init = 10) {
  KmeansOptions options;
  options.k = k;
  options.n_init = n_init;
  options.exchange = exchange;
  options.gram = gram;
  const auto rows = data.rows();
  return kmeans(rows, data.columns(), options);
}

// The same in every bit, but for what the Gram matrix alone tells.
bool same_clustering(const KmeansResult& a, const KmeansResult& b) {
  return a.labels == b.labels && a.counts == b.counts && a.centroids == b.centroids && a.inertia == b.inertia;
}

// Rows less float32(mean), in double: what fast_gram multiplies, before it rounds.
std::vector<Point> shifted(const Data& data) {
  std::vector<Point> points = data.points();
  for (size_t j = 0; j < points[0].size(); ++j) {
    double sum = 0;
    for (const Point& x : points) sum += x[j];
    const auto mean = static_cast<double>(static_cast<float>(sum / static_cast<double>(points.size())));
    for (Point& x : points) x[j] -= mean;
  }
  return points;
}

double product(const Point& a, const Point& b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) sum += a[j] * b[j];
  return sum;
}

// The bound that docs/kmeans.md tells.
void the_bound_follows_from_the_vectors() {
  const double expected = vector_bytes() == VectorBytes::k64   ? 4.3e-6
                          : vector_bytes() == VectorBytes::k32 ? 8.1e-6
                                                               : 1.57e-5;
  const double relative = error_of_fast_gram(1000).relative;
  EXPECT(std::abs(relative - expected) < 0.02 * expected, relative);
}

void entries_lie_within_the_bound() {
  for (const auto& [n, columns] : {std::pair{1, 1},
                                   {33, 700},
                                   {50, 513},
                                   {48, 1023},
                                   {48, 1024},
                                   {48, 1025},
                                   {64, 16},
                                   {129, 1500},
                                   {300, 3000},
                                   {40, 40000}}) {
    for (const double offset : {0.0, 1e4}) {
      Data data = blobs(static_cast<uint64_t>(n + columns), n, columns, 3, 4.0, offset);
      if (n > 2) data.values.back() = data.values[1];
      const auto rows = data.rows();
      const RowSet set(rows, columns);
      const std::vector<double> gram = fast_gram(set, {});
      const GramError error = error_of_fast_gram(columns);
      const std::vector<Point> points = shifted(data);
      const auto side = static_cast<size_t>(n);
      double worst = 0, most = 0;
      for (size_t i = 0; i < side; ++i) {
        for (size_t j = 0; j < side; ++j) {
          const double lengths = std::sqrt(product(points[i], points[i]) * product(points[j], points[j]));
          const double off = std::abs(gram[i * side + j] - product(points[i], points[j]));
          worst = std::max(worst, off / (error.relative * lengths + error.absolute));
          most = std::max(most, off / lengths);
        }
      }
      EXPECT(worst <= 1.0, "n", n, "columns", columns, "offset", offset, worst);
      if (n > 2) {
        EXPECT(most > 1e-10, "products are not in float32: off by at most", most);
        for (size_t j = 0; j < side; ++j)
          EXPECT(gram[side + j] == gram[(side - 1) * side + j], "equal rows differ at", j);
      }
      at::set_num_threads(1);
      EXPECT(gram == fast_gram(set, {}), "differs with one thread; n", n, "columns", columns);
      at::set_num_threads(2);
    }
  }
}

// No error within the bound moves a point of a certified clustering nearer to another mean, nor makes another
// start better.
void certified_clusterings_withstand_errors() {
  int64_t certified = 0, refused = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const int64_t n = 12, k = 3;
    const auto side = static_cast<size_t>(n);
    const Data data = blobs(seed, n, 5, k, 1.0 + static_cast<double>(seed % 5));
    const std::vector<Point> points = data.points();
    GramPoints exact{n, std::vector<double>(side * side), std::vector<double>(side, 1.0)};
    for (size_t i = 0; i < side; ++i) {
      for (size_t j = 0; j < side; ++j) exact.gram[i * side + j] = product(points[i], points[j]);
    }
    const GramError error{seed % 2 == 0 ? 1e-3 : 1e-2, 1e-4};
    GramPoints found = exact;
    std::vector<double> noise(side * side);
    philox_doubles(seed, 9, n * n, noise.data());
    for (size_t i = 0; i < side; ++i) {
      for (size_t j = i; j < side; ++j) {
        const double lengths = std::sqrt(exact.gram[i * (side + 1)] * exact.gram[j * (side + 1)]);
        const double most = error.relative * lengths + error.absolute;
        const double off = (noise[i * side + j] < 0.5 ? -1 : 1) * most;
        found.gram[i * side + j] += off;
        found.gram[j * side + i] = found.gram[i * side + j];
      }
    }
    std::vector<LloydResult> starts;
    std::vector<double> draws(static_cast<size_t>(draws_for(k)));
    for (uint32_t start = 0; start < 4; ++start) {
      philox_doubles(seed, start, draws_for(k), draws.data());
      starts.push_back(run_start(found, {k, 100, 0.0, true, {}}, draws));
    }
    const LloydResult best = *std::min_element(
        starts.begin(), starts.end(), [](const auto& a, const auto& b) { return a.inertia < b.inertia; });
    if (!decided_beyond(error, found, k, best, starts)) {
      ++refused;
      continue;
    }
    ++certified;
    std::vector<Point> means(static_cast<size_t>(k), Point(5));
    move_to_means(points, best.labels, means);
    EXPECT(nearest(points, means) == best.labels, "seed", seed);
    const double inertia = inertia_of(points, best.labels, static_cast<size_t>(k));
    for (const LloydResult& start : starts)
      EXPECT(inertia_of(points, start.labels, static_cast<size_t>(k)) >= inertia * (1 - 1e-12), "seed", seed);
  }
  EXPECT(certified > 20 && refused > 20, "certified", certified, "refused", refused);
}

void clear_clusters_are_certified() {
  for (const double offset : {0.0, 1e4}) {
    const Data data = blobs(7, 60, 700, 4, 0.5, offset);
    const KmeansResult fast = cluster(data, 4), exact = cluster(data, 4, KmeansGram::kFloat64);
    EXPECT(fast.gram == "float32" && exact.gram == "float64", fast.gram, exact.gram, "offset", offset);
    EXPECT(same_clustering(fast, exact), "offset", offset);
    for (size_t i = 0; i < 60; ++i) EXPECT_NEAR(fast.quality.margin[i], exact.quality.margin[i], 1e-5);
  }
}

void few_rows_and_other_wishes_take_doubles() {
  EXPECT(cluster(blobs(7, 31, 70, 3, 2.0), 3).gram == "float64");
  const Data data = blobs(7, 40, 70, 3, 2.0);
  const auto rows = data.rows();
  KmeansOptions options;
  options.k = 3;
  options.centroids = false;
  EXPECT(kmeans(rows, 70, options).gram == "float64", "inertia would come from float32");
  options.centroids = true;
  options.path = KmeansPath::kFused;
  EXPECT(kmeans(rows, 70, options).gram.empty());
}

// A row that lies as near to two means, to within float32.
void a_row_in_doubt_takes_doubles() {
  Data data = blobs(21, 20, 300, 1, 0.0);
  for (size_t i = 0; i < 20; ++i) {
    std::vector<float> mirrored = data.values[i];
    for (float& x : mirrored) x = -x - 4;
    data.values.push_back(mirrored);
  }
  data.values.emplace_back(300, -2.0f);  // the point of symmetry
  data.values.back()[0] += 1e-5f;
  const KmeansResult found = cluster(data, 2, KmeansGram::kAuto, false);
  EXPECT(found.gram == "float64", found.gram);
  EXPECT(same_clustering(found, cluster(data, 2, KmeansGram::kFloat64, false)));
  data.values.back()[0] = 2000.0f;  // out of the way, though with the largest error of all
  EXPECT(cluster(data, 3, KmeansGram::kAuto, false).gram == "float32");
}

// Four corners of a square: two ways to halve them that are as good as each other.
void starts_in_doubt_take_doubles() {
  const Data noise = blobs(22, 10, 60, 1, 0.0);
  Data data;
  for (const auto& row : noise.values) {
    for (int corner = 0; corner < 4; ++corner) {
      std::vector<float> x = row;
      x[0] = corner < 2 ? -20.0f : 20.0f;
      x[1] = corner % 2 == 0 ? -20.0f : 20.0f;
      data.values.push_back(x);
    }
  }
  const KmeansResult one = cluster(data, 2, KmeansGram::kAuto, false, 1);
  EXPECT(one.gram == "float32", "a single start has no rival", one.gram);
  EXPECT(cluster(data, 2, KmeansGram::kAuto, false, 30).gram == "float64", "both halvings count the same");
  EXPECT(cluster(data, 4).gram == "float32");
}

// Squares that float32 cannot hold, or not well.
void values_out_of_range_take_doubles() {
  for (const float scale : {1e25f, 1e-21f, std::numeric_limits<float>::max() / 8}) {
    Data data = blobs(23, 40, 600, 4, 3.0);
    const std::vector<int32_t> labels = cluster(data, 4).labels;
    for (auto& row : data.values) {
      for (float& x : row) x *= scale;
    }
    const KmeansResult found = cluster(data, 4);
    EXPECT(found.gram == "float64" && found.labels == labels && std::isfinite(found.inertia), scale);
  }
  EXPECT(cluster(blobs(23, 40, 600, 4, 3.0), 4).gram == "float32");
}

void equal_rows_share_a_label() {
  Data data = blobs(16, 20, 300, 6, 1.0);
  for (int copy = 0; copy < 3; ++copy) {
    for (size_t i = 0; i < 20; ++i) data.values.push_back(data.values[i]);
  }
  const KmeansResult result = cluster(data, 20);  // every different row a cluster
  EXPECT(result.gram == "float32" && result.inertia == 0.0, result.gram, result.inertia);
  for (size_t i = 20; i < 80; ++i) EXPECT(result.labels[i] == result.labels[i % 20], i);
}

}  // namespace

int main() {
  return run("kmeans_certificate_test", [] {
    at::set_num_threads(2);
    the_bound_follows_from_the_vectors();
    entries_lie_within_the_bound();
    certified_clusterings_withstand_errors();
    clear_clusters_are_certified();
    few_rows_and_other_wishes_take_doubles();
    a_row_in_doubt_takes_doubles();
    starts_in_doubt_take_doubles();
    values_out_of_range_take_doubles();
    equal_rows_share_a_label();
  });
}
