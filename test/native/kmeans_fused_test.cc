// The fused path against a plain reference, and its rules (native/kmeans/fused.h).
#include <ATen/Parallel.h>

#include <atomic>
#include <cmath>
#include <deque>
#include <limits>

#include "check.h"
#include "kmeans/fused.h"
#include "kmeans/kmeans.h"
#include "kmeans/seeding.h"
#include "kmeans/tile.h"
#include "kmeans_data.h"
#include "kmeans_reference.h"

namespace {

using namespace fltac;
using namespace fltac::test;

KmeansOptions options_of(int64_t k, uint64_t seed = 0, int64_t n_init = 5) {
  KmeansOptions options;
  options.k = k;
  options.seed = seed;
  options.n_init = n_init;
  options.path = KmeansPath::kFused;
  return options;
}

KmeansResult cluster(const Data& data, const KmeansOptions& options) {
  return kmeans(data.rows(), data.columns(), options);
}

// Every size below, at and above the tile's, with columns that take one pass and several.
void tiles_find_the_nearest_two() {
  for (const auto& [count, columns, k] :
       {std::tuple{48, 16, 8}, {1, 1, 1}, {47, 15, 9}, {48, 512, 17}, {13, 513, 3}, {30, 1100, 40}}) {
    const Data data = blobs(static_cast<uint64_t>(columns), count + k, columns, 5, 1.0);
    const auto rows = data.rows();
    Frame frame{2.0f, std::vector<float>(static_cast<size_t>(columns), 0.25f)};
    Codebook codebook(2, k, columns);
    for (int64_t c = 0; c < k; ++c) {
      Point framed;
      for (const float x : data.values[static_cast<size_t>(count + c)]) framed.push_back(2.0 * x - 0.25);
      codebook.set(1, c, framed.data());
    }
    TileScratch scratch(codebook, true);
    TileResult found(2);
    assign_tile(rows.data(), count, frame, codebook, {1}, scratch, found);
    const auto points = data.points();
    const std::vector<Point> centroids(points.begin() + count, points.end());
    for (int64_t p = 0; p < count; ++p) {
      const auto at = static_cast<size_t>(kTilePoints + p);
      double norm2 = 0, best = 1e300, second = 1e300;
      size_t label = 0;
      for (const double x : points[static_cast<size_t>(p)]) norm2 += (2 * x - 0.25) * (2 * x - 0.25);
      for (size_t c = 0; c < centroids.size(); ++c) {
        const double distance = 4 * squared_distance(points[static_cast<size_t>(p)], centroids[c]);
        second = std::min(second, std::max(best, distance));
        if (distance < best) {
          best = distance;
          label = c;
        }
      }
      EXPECT(found.label[at] == static_cast<int32_t>(label), count, columns, k, p);
      EXPECT_NEAR(norm2 + 2 * static_cast<double>(found.best[at]), best, 1e-4 * norm2);
      if (k > 1) EXPECT_NEAR(norm2 + 2 * static_cast<double>(found.second[at]), second, 1e-4 * norm2);
    }
  }
}

void packed_points_are_measured_exactly() {
  const Data data = blobs(3, 48, 21, 3, 2.0);
  const auto rows = data.rows();
  const Frame frame{1.0f, std::vector<float>(21, 0.5f)};
  std::vector<float> packed(21 * kTilePoints), panel(21 * kPanel), out(kPanel * kTilePoints);
  pack_tile(rows.data(), 48, frame, packed.data());
  for (size_t c = 0; c < 21; ++c) {
    for (size_t s = 0; s < kPanel; ++s) panel[c * kPanel + s] = packed[c * kTilePoints + 5 * s];
  }
  measure_tile(packed.data(), panel.data(), 21, out.data());
  const auto points = data.points();
  for (size_t s = 0; s < kPanel; ++s) {
    for (size_t p = 0; p < 48; ++p) {
      EXPECT_NEAR(out[s * kTilePoints + p], squared_distance(points[p], points[5 * s]), 1e-4);
    }
    EXPECT(out[s * kTilePoints + 5 * s] == 0.0f, "a row's distance from itself");
  }
}

// From the same seeds Lloyd's iteration takes the same way as the reference's.
void one_start_matches_the_reference() {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    for (const double offset : {0.0, 1e4}) {
      const Data data = blobs(seed, 700, 24, 7, 1.5, offset);
      const auto points = data.points();
      KmeansOptions options = options_of(7, seed, 1);
      options.tol = 0;
      options.max_iter = 1 + static_cast<int64_t>(seed);
      Seeds seeds = {{1, 20, 300, 401, 502, 603, 699}};
      std::vector<Point> centroids;
      for (const int64_t row : seeds[0]) centroids.push_back(points[static_cast<size_t>(row)]);
      std::vector<int32_t> labels, before;
      int64_t iterations = 0;
      while (iterations < options.max_iter) {
        ++iterations;
        labels = nearest(points, centroids);
        move_to_means(points, labels, centroids);
        if (labels == before) break;
        before = labels;
      }
      labels = nearest(points, centroids);
      const FusedData described = describe_rows(RowSet(data.rows(), 24));
      const FusedBatch batch = run_fused({&described, 1}, {&seeds, 1}, options);
      EXPECT(batch.starts[0][0].labels == labels, "seed", seed, "offset", offset);
      EXPECT(batch.starts[0][0].iterations == iterations, "seed", seed, batch.starts[0][0].iterations,
             iterations);
    }
  }
}

void results_describe_the_clustering() {
  const Data data = blobs(7, 900, 30, 4, 3.0, -300.0);
  const auto points = data.points();
  const KmeansResult result = cluster(data, options_of(4));
  EXPECT(result.path == "fused" && result.device == "cpu" && result.k == 4);
  EXPECT_NEAR(result.inertia, inertia_of(points, result.labels, 4), 1e-12 * result.inertia);
  std::vector<Point> means(4, Point(30));
  move_to_means(points, result.labels, means);
  for (size_t v = 0; v < result.centroids.size(); ++v)
    EXPECT_NEAR(result.centroids[v], means[v / 30][v % 30], 3e-5);  // half a float32 step at 300
  EXPECT(result.quality.silhouette.empty(), "silhouettes cost n^2 distances");
  for (size_t i = 0; i < points.size(); ++i) {
    const auto own_label = static_cast<size_t>(result.labels[i]);
    double next = 1e300;
    for (size_t c = 0; c < 4; ++c) {
      if (c != own_label) next = std::min(next, std::sqrt(squared_distance(points[i], means[c])));
    }
    const double own = std::sqrt(squared_distance(points[i], means[own_label]));
    EXPECT_NEAR(result.quality.own[i], own, 1e-9 * own);
    EXPECT_NEAR(result.quality.next[i], next, 1e-4 * next);
    EXPECT_NEAR(result.quality.margin[i], (next - own) / std::max(own, next), 1e-4);
  }
  EXPECT(result.bytes_read > 4 * 900 * 30 * result.iterations, result.bytes_read);
  KmeansOptions bare = options_of(4);
  bare.centroids = false;
  const KmeansResult without = cluster(data, bare);
  EXPECT(without.centroids.empty() && without.labels == result.labels && without.inertia == result.inertia);
}

void inertia_falls_with_every_iteration() {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Data data = blobs(200 + seed, 800, 12, 6, 0.4);
    KmeansOptions options = options_of(6, seed, 1);
    options.tol = 0;
    double before = std::numeric_limits<double>::infinity();
    for (options.max_iter = 1; options.max_iter <= 12; ++options.max_iter) {
      const double inertia = cluster(data, options).inertia;
      EXPECT(inertia <= before * (1 + 1e-6), "seed", seed, "iterations", options.max_iter, inertia, before);
      before = inertia;
    }
  }
}

void both_paths_find_separated_clusters() {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Data data = blobs(300 + seed, 600, 40, 6, 20.0);
    KmeansOptions options = options_of(6, seed);
    const KmeansResult fused = cluster(data, options);
    options.path = KmeansPath::kGram;
    const KmeansResult gram = cluster(data, options);
    EXPECT(fused.labels == gram.labels, "seed", seed);
    EXPECT_NEAR(fused.inertia, gram.inertia, 1e-10 * gram.inertia);
  }
}

void shape_chooses_the_path() {
  const auto path_of = [](int64_t n, int64_t columns) {
    KmeansOptions options = options_of(2, 0, 1);
    options.path = KmeansPath::kAuto;
    return cluster(blobs(1, n, columns, 2, 9.0), options).path;
  };
  EXPECT(path_of(512, 3) == "gram");
  EXPECT(path_of(513, 3) == "fused");
  EXPECT(path_of(513, 513) == "gram");
}

// Neither a common offset nor the unit of the values is seen.
void offset_and_unit_change_nothing() {
  Data data = blobs(13, 700, 20, 5, 3.0);
  for (auto& row : data.values) {
    for (float& x : row) x = std::round(x * 64) / 64;  // so that the shift below is exact in float32
  }
  const KmeansResult still = cluster(data, options_of(5));
  for (const double unit : {0x1p-100, 0x1p90}) {
    Data scaled = data;
    for (auto& row : scaled.values) {
      for (float& x : row) x = static_cast<float>(x * unit);
    }
    const KmeansResult result = cluster(scaled, options_of(5));
    EXPECT(result.labels == still.labels, "unit", unit);
    EXPECT_NEAR(result.inertia / unit / unit, still.inertia, 1e-9 * still.inertia);
  }
  for (auto& row : data.values) {
    for (float& x : row) x += 16384;
  }
  const KmeansResult moved = cluster(data, options_of(5));
  EXPECT(still.labels == moved.labels);
  EXPECT_NEAR(still.inertia, moved.inertia, 1e-10 * still.inertia);
}

void the_result_depends_on_seed_alone() {
  const Data data = blobs(12, 3000, 33, 7, 0.5);
  const KmeansResult two = cluster(data, options_of(7, 5));
  at::set_num_threads(1);
  const KmeansResult one = cluster(data, options_of(7, 5));
  at::set_num_threads(2);
  EXPECT(one.labels == two.labels && one.centroids == two.centroids && one.inertia == two.inertia);
  EXPECT(one.quality.next == two.quality.next && one.iterations == two.iterations);
}

void few_different_rows_stay_together() {
  Data data = blobs(16, 6, 30, 6, 1.0);
  for (int copy = 0; copy < 99; ++copy) {
    for (size_t i = 0; i < 6; ++i) data.values.push_back(data.values[i]);
  }
  for (const int64_t k : {1, 3, 6, 8, 700}) {
    const KmeansResult result = cluster(data, options_of(k, 0, 10));
    for (size_t i = 6; i < data.values.size(); ++i)
      EXPECT(result.labels[i] == result.labels[i % 6], "k", k, "row", i);
    const auto used =
        std::count_if(result.counts.begin(), result.counts.end(), [](int64_t count) { return count > 0; });
    EXPECT(used == std::min<int64_t>(k, 6), "k", k, "used", used);
    if (k >= 6) EXPECT(result.inertia < 1e-9, result.inertia);
    for (int64_t c = used; c < k; ++c) {
      EXPECT(result.centroids[static_cast<size_t>(c * 30)] ==
             result.centroids[static_cast<size_t>(c % used * 30)]);
    }
    EXPECT(result.quality.margin.empty() == (k == 1));
  }
  Data same;
  same.values.assign(700, {1.0f, -0.0f});
  const KmeansResult result = cluster(same, options_of(3));
  EXPECT(result.labels == std::vector<int32_t>(700, 0) && result.inertia == 0.0);
}

void empty_clusters_are_seeded_again() {
  const Data data = blobs(31, 640, 4, 5, 6.0);
  const FusedData described = describe_rows(RowSet(data.rows(), 4));
  const Seeds seeds = {{7, 7, 7, 7}};
  const KmeansOptions options = options_of(4, 0, 1);
  const FusedBatch batch = run_fused({&described, 1}, {&seeds, 1}, options);
  const FusedStart& start = batch.starts[0][0];
  EXPECT(start.reseeded >= 3, start.reseeded);
  std::vector<int64_t> counts(4);
  for (const int32_t label : start.labels) ++counts[static_cast<size_t>(label)];
  for (const int64_t count : counts) EXPECT(count > 0);
}

void many_rows_are_seeded_from_a_sample() {
  const Data data = blobs(40, 40000, 2, 9, 40.0);
  const KmeansResult result = cluster(data, options_of(9, 1, 4));
  EXPECT(result.seeded_from == 16384, result.seeded_from);
  const double best = inertia_of(
      data.points(),
      [] {
        std::vector<int32_t> truth;
        for (int32_t i = 0; i < 40000; ++i) truth.push_back(i % 9);
        return truth;
      }(),
      9);
  EXPECT(result.inertia <= best * 1.001, result.inertia, best);
  for (const uint32_t start : {0u, 1u}) {
    const std::vector<int64_t> sample = seeding_sample(100000, 8, 3, 5, start);
    EXPECT(sample.size() == 16384);
    bool rising = true;
    for (size_t i = 1; i < sample.size(); ++i) rising = rising && sample[i - 1] < sample[i];
    EXPECT(rising && sample.front() >= 0 && sample.back() < 100000);
  }
  EXPECT(seeding_sample(100000, 8, 3, 5, 0) != seeding_sample(100000, 8, 3, 5, 1));
  EXPECT(seeding_sample(100000, 1 << 20, 3, 5, 0).size() == 32, "a sample is kept in memory");
}

void problems_of_a_batch_are_solved_apart() {
  std::vector<Data> data;
  std::deque<RowSet> sets;
  std::vector<const RowSet*> problems;
  for (uint64_t i = 0; i < 3; ++i) {
    data.push_back(blobs(80 + i, 600, 5, 3, 5.0));
    problems.push_back(&sets.emplace_back(data.back().rows(), 5));
  }
  for (const KmeansPath path : {KmeansPath::kFused, KmeansPath::kGram}) {
    KmeansOptions options = options_of(3, 2);
    options.path = path;
    const std::vector<KmeansResult> results = kmeans_batch(problems, options);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT(results[i].labels == cluster(data[i], options).labels, i);
      EXPECT(results[i].path == (path == KmeansPath::kGram ? "gram" : "fused"));
    }
  }
  const Data other = blobs(9, 601, 5, 3, 5.0);
  problems.push_back(&sets.emplace_back(other.rows(), 5));
  EXPECT_FAILS(ErrorCode::Shape, "one shape", kmeans_batch(problems, options_of(3)));
}

void bad_input_is_named() {
  Data data = blobs(17, 600, 7, 2, 1.0);
  data.values[311][4] = std::numeric_limits<float>::quiet_NaN();
  data.values[500][1] = std::numeric_limits<float>::infinity();
  RowSet set(data.rows(), 7);
  set.set_tensors({{"a", {2, 2}, 0}, {"b", {3}, 4}});
  EXPECT_FAILS(ErrorCode::NonFinite, "row 311 is nan at column 4, value 0 of tensor \"b\"",
               kmeans(set, options_of(2)));
  data.values[311][4] = 0;
  EXPECT_FAILS(ErrorCode::NonFinite, "row 500 is inf at column 1", cluster(data, options_of(2)));
  KmeansOptions options = options_of(2);
  options.space.cosine = true;
  EXPECT_FAILS(ErrorCode::Unsupported, "cosine needs the path \"gram\"", cluster(data, options));
  options = options_of(2);
  options.device = KmeansDevice::kCuda;
  if (!FLTAC_WITH_CUDA) EXPECT_FAILS(ErrorCode::Unsupported, "no CUDA", cluster(data, options));
}

void the_work_can_be_stopped() {
  const Data data = blobs(18, 5000, 10, 4, 0.5);
  KmeansOptions options = options_of(4);
  std::atomic<int> asked{0};
  options.cancelled = [&] { return ++asked > 20; };
  EXPECT_FAILS(ErrorCode::Aborted, "stopped", cluster(data, options));
}

}  // namespace

int main() {
  return run("kmeans_fused_test", [] {
    at::set_num_threads(2);
    tiles_find_the_nearest_two();
    packed_points_are_measured_exactly();
    one_start_matches_the_reference();
    results_describe_the_clustering();
    inertia_falls_with_every_iteration();
    both_paths_find_separated_clusters();
    shape_chooses_the_path();
    offset_and_unit_change_nothing();
    the_result_depends_on_seed_alone();
    few_different_rows_stay_together();
    empty_clusters_are_seeded_again();
    many_rows_are_seeded_from_a_sample();
    problems_of_a_batch_are_solved_apart();
    bad_input_is_named();
    the_work_can_be_stopped();
  });
}
