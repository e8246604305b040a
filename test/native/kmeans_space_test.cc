// The spaces that rows are clustered in, against their definitions written out; quality from the Gram matrix.
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <memory>

#include "check.h"
#include "kmeans/gram_search.h"
#include "kmeans/kmeans.h"
#include "kmeans/space.h"
#include "kmeans_data.h"
#include "kmeans_reference.h"

namespace {

using namespace fltac;
using namespace fltac::test;

// Two LoRA modules and a head: [rank, in] and [out, rank] factors, in name order.
struct Adapters {
  Adapters(uint64_t seed, int64_t n, int64_t rank_, int64_t inputs_, int64_t outputs_)
      : rank(rank_), inputs(inputs_), outputs(outputs_) {
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      NamedTensor tensor{name, std::move(shape), columns};
      columns += tensor.size();
      tensors.push_back(tensor);
    };
    add("layer.0.query.lora_A.default.weight", {rank, inputs});
    add("layer.0.query.lora_B.default.weight", {outputs, rank});
    add("layer.1.query.lora_A.default.weight", {rank, inputs + 3});
    add("layer.1.query.lora_B.default.weight", {outputs, rank});
    add("score.weight", {2, 5});
    data = blobs(seed, n, columns, n, 1.0);
  }

  std::unique_ptr<RowSet> rows() const {
    auto set = std::make_unique<RowSet>(data.rows(), columns);
    set->set_tensors(tensors);
    return set;
  }

  // The rows' coordinates in delta_w, products written out; those of each part.
  std::vector<std::vector<Point>> delta_parts() const {
    std::vector<std::vector<Point>> parts(3);
    for (const auto& row : data.values) {
      parts[0].push_back(product(row, tensors[0], tensors[1]));
      parts[1].push_back(product(row, tensors[2], tensors[3]));
      parts[2].emplace_back(row.begin() + tensors[4].offset, row.end());
    }
    return parts;
  }

  static Point product(const std::vector<float>& row, const NamedTensor& a, const NamedTensor& b) {
    Point out;
    for (int64_t o = 0; o < b.shape[0]; ++o) {
      for (int64_t i = 0; i < a.shape[1]; ++i) {
        double sum = 0;
        for (int64_t r = 0; r < a.shape[0]; ++r) {
          sum += static_cast<double>(row[static_cast<size_t>(b.offset + o * a.shape[0] + r)]) *
                 static_cast<double>(row[static_cast<size_t>(a.offset + r * a.shape[1] + i)]);
        }
        out.push_back(sum);
      }
    }
    return out;
  }

  int64_t rank, inputs, outputs, columns = 0;
  std::vector<NamedTensor> tensors;
  Data data;
};

std::vector<Point> joined(const std::vector<std::vector<Point>>& parts) {
  std::vector<Point> points(parts[0].size());
  for (const auto& part : parts) {
    for (size_t i = 0; i < points.size(); ++i)
      points[i].insert(points[i].end(), part[i].begin(), part[i].end());
  }
  return points;
}

// Divides by the standard deviation of all values around their columns' means.
void standardize(std::vector<Point>& points) {
  const double variance = inertia_of(points, std::vector<int32_t>(points.size(), 0), 1) /
                          static_cast<double>(points.size() * points[0].size());
  for (Point& point : points) {
    for (double& x : point) x /= std::sqrt(variance);
  }
}

void expect_gram(const RowSet& rows, const SpaceOptions& options, const std::vector<Point>& points,
                 const char* what) {
  const std::vector<double> gram = feature_gram(rows, options, gram_of_columns, {});
  const auto n = points.size();
  double spread = 0, worst = 0, centred = 0;
  for (size_t i = 0; i < n; ++i) {
    double row = 0;
    for (size_t j = 0; j < n; ++j) {
      const double expected = squared_distance(points[i], points[j]);
      const double found = gram[i * n + i] + gram[j * n + j] - 2 * gram[i * n + j];
      worst = std::max(worst, std::abs(found - expected));
      spread = std::max(spread, expected);
      row += gram[i * n + j];
      EXPECT(gram[i * n + j] == gram[j * n + i], what, i, j);
    }
    centred = std::max(centred, std::abs(row));
  }
  EXPECT(worst <= 1e-12 * spread, what, worst, spread);
  EXPECT(centred <= 1e-11 * spread * static_cast<double>(n), what, "the origin is not the mean", centred);
  EXPECT(feature_count(rows, options) == static_cast<int64_t>(points[0].size()), what);
}

SpaceOptions delta_w() {
  SpaceOptions options;
  options.kind = SpaceOptions::Kind::kDeltaW;
  return options;
}

void delta_w_is_the_product_of_the_factors() {
  for (const auto& [n, rank, inputs, outputs] :
       {std::tuple{5, 1, 7, 3}, {9, 4, 33, 20}, {60, 2, 600, 10}, {3, 100, 120, 130}}) {
    const Adapters adapters(static_cast<uint64_t>(n), n, rank, inputs, outputs);
    expect_gram(*adapters.rows(), delta_w(), joined(adapters.delta_parts()), "delta_w");
  }
}

// (S A, B S^-1) is the same change: here S scales by powers of two and swaps, which float32 does exactly.
void delta_w_does_not_see_how_a_change_is_factored() {
  const Adapters adapters(11, 8, 2, 9, 6);
  Adapters other = adapters;
  for (size_t i = 0; i < other.data.values.size(); ++i) {
    auto& row = other.data.values[i];
    const auto scale = static_cast<float>(std::ldexp(1.0, static_cast<int>(i) - 3));
    for (const size_t t : {0u, 2u}) {
      const NamedTensor &a = adapters.tensors[t], &b = adapters.tensors[t + 1];
      for (int64_t c = 0; c < a.shape[1]; ++c) {
        float* first = row.data() + a.offset + c;
        float* second = first + a.shape[1];
        std::swap(*first, *second);
        *first *= scale;
        *second *= -scale;
      }
      for (int64_t o = 0; o < b.shape[0]; ++o) {
        float* pair = row.data() + b.offset + 2 * o;
        std::swap(pair[0], pair[1]);
        pair[0] /= scale;
        pair[1] /= -scale;
      }
    }
  }
  const std::vector<double> before = feature_gram(*adapters.rows(), delta_w(), gram_of_columns, {});
  const std::vector<double> after = feature_gram(*other.rows(), delta_w(), gram_of_columns, {});
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(before[i], after[i], 1e-11 * trace(before, 8));
}

void standardize_weighs_all_tensors_alike() {
  Adapters adapters(21, 12, 2, 9, 6);
  for (auto& row : adapters.data.values) {
    for (int64_t c = 0; c < adapters.tensors[1].size(); ++c)
      row[static_cast<size_t>(adapters.tensors[1].offset + c)] *= 50;
    // A tensor that all rows share has no deviation to divide by.
    for (int64_t c = 0; c < adapters.tensors[2].size(); ++c)
      row[static_cast<size_t>(adapters.tensors[2].offset + c)] = 0.25f;
  }
  SpaceOptions options;
  options.standardize = true;
  std::vector<std::vector<Point>> parts;
  for (const NamedTensor& tensor : adapters.tensors) {
    std::vector<Point> part;
    for (const auto& row : adapters.data.values)
      part.emplace_back(row.begin() + tensor.offset, row.begin() + tensor.offset + tensor.size());
    if (&tensor != &adapters.tensors[2]) standardize(part);
    parts.push_back(part);
  }
  expect_gram(*adapters.rows(), options, joined(parts), "standardize");
  options.kind = SpaceOptions::Kind::kDeltaW;
  parts = adapters.delta_parts();
  for (auto& part : parts) standardize(part);
  expect_gram(*adapters.rows(), options, joined(parts), "standardize in delta_w");
}

void cosine_compares_directions() {
  const Adapters adapters(31, 10, 3, 12, 8);
  for (const bool in_delta_w : {false, true}) {
    std::vector<Point> points = in_delta_w ? joined(adapters.delta_parts()) : adapters.data.points();
    for (Point& point : points) {
      double length = 0;
      for (const double x : point) length += x * x;
      for (double& x : point) x /= std::sqrt(length);
    }
    SpaceOptions options = in_delta_w ? delta_w() : SpaceOptions{};
    options.cosine = true;
    expect_gram(*adapters.rows(), options, points, "cosine");
  }
  Data zero = blobs(1, 4, 6, 2, 1.0);
  zero.values[2].assign(6, 0.0f);
  SpaceOptions options;
  options.cosine = true;
  EXPECT_FAILS(ErrorCode::Usage, "row 2 is all zeros",
               feature_gram(RowSet(zero.rows(), 6), options, gram_of_columns, {}));
}

void spaces_that_do_not_fit_are_refused() {
  const Data data = blobs(1, 4, 6, 2, 1.0);
  const RowSet plain(data.rows(), 6);
  SpaceOptions options;
  options.standardize = true;
  EXPECT_FAILS(ErrorCode::Usage, "plain matrix", feature_gram(plain, options, gram_of_columns, {}));
  EXPECT_FAILS(ErrorCode::Usage, "lora_A or lora_B", feature_gram(plain, delta_w(), gram_of_columns, {}));
  RowSet lonely(data.rows(), 6);
  lonely.set_tensors({{"m.lora_A.default.weight", {2, 3}, 0}});
  EXPECT_FAILS(ErrorCode::Shape, "only one of lora_A and lora_B",
               feature_gram(lonely, delta_w(), gram_of_columns, {}));
  RowSet unfit(data.rows(), 6);
  unfit.set_tensors({{"m.lora_A.default.weight", {2, 2}, 0}, {"m.lora_B.default.weight", {2, 1}, 4}});
  EXPECT_FAILS(ErrorCode::Shape, "do not fit", feature_gram(unfit, delta_w(), gram_of_columns, {}));
  Adapters spoilt(3, 5, 2, 7, 4);
  spoilt.data.values[3][static_cast<size_t>(spoilt.tensors[1].offset + 2)] =
      std::numeric_limits<float>::infinity();
  EXPECT_FAILS(ErrorCode::NonFinite, "row 3 is inf",
               feature_gram(*spoilt.rows(), delta_w(), gram_of_columns, {}));
  EXPECT_FAILS(ErrorCode::NonFinite, "value 2 of tensor \"layer.0.query.lora_B.default.weight\"",
               feature_gram(*spoilt.rows(), {}, gram_of_columns, {}));
}

// Distances and silhouettes written out, on coordinates.
void quality_is_what_it_says() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Data data = blobs(400 + seed, 30, 8, 4, 1.5, 100.0);
    data.values.push_back(data.values[3]);  // equal rows count each
    data.values.push_back(data.values[3]);
    const auto points = data.points();
    KmeansOptions options;
    options.k = 5;
    options.seed = seed;
    options.gram = KmeansGram::kFloat64;
    const KmeansResult result = kmeans(data.rows(), 8, options);
    std::vector<Point> means(5, Point(8));
    move_to_means(points, result.labels, means);
    for (size_t i = 0; i < points.size(); ++i) {
      double next = 1e300;
      std::vector<double> sum(5);
      for (size_t j = 0; j < points.size(); ++j)
        sum[static_cast<size_t>(result.labels[j])] += std::sqrt(squared_distance(points[i], points[j]));
      const auto own = static_cast<size_t>(result.labels[i]);
      double other = 1e300;
      for (size_t c = 0; c < 5; ++c) {
        if (c == own) continue;
        next = std::min(next, std::sqrt(squared_distance(points[i], means[c])));
        other = std::min(other, sum[c] / static_cast<double>(result.counts[c]));
      }
      const double to_own = std::sqrt(squared_distance(points[i], means[own]));
      EXPECT_NEAR(result.quality.own[i], to_own, 1e-7);
      EXPECT_NEAR(result.quality.next[i], next, 1e-9 * next);
      EXPECT_NEAR(result.quality.margin[i], (next - to_own) / std::max(next, to_own), 1e-7);
      const bool alone = result.counts[own] == 1;
      const double within = alone ? 0 : sum[own] / static_cast<double>(result.counts[own] - 1);
      EXPECT_NEAR(result.quality.silhouette[i], alone ? 0.0 : (other - within) / std::max(other, within),
                  1e-7);
    }
    options.k = 1;
    const KmeansResult one = kmeans(data.rows(), 8, options);
    EXPECT(one.quality.margin.empty() && one.quality.silhouette.empty() &&
           one.quality.own.size() == points.size());
  }
}

void auto_finds_the_number_of_clusters() {
  for (const int64_t groups : {2, 3, 5, 7}) {
    const Data data = blobs(500 + static_cast<uint64_t>(groups), 42, 300, groups, 4.0);
    KmeansOptions options;
    options.auto_k = true;
    options.most_k = 12;
    const KmeansResult result = kmeans(data.rows(), 300, options);
    EXPECT(result.k == groups, "found", result.k, "of", groups);
    EXPECT(result.counts_tried.size() == 11 && result.counts_tried.front().k == 2);
    options.auto_k = false;
    options.k = groups;
    EXPECT(kmeans(data.rows(), 300, options).labels == result.labels);
  }
  // Too few points to choose among.
  KmeansOptions options;
  options.auto_k = true;
  for (const int64_t n : {1, 2}) {
    const Data few = blobs(1, n, 5, n, 3.0);
    const KmeansResult result = kmeans(few.rows(), 5, options);
    EXPECT(result.k == n && result.inertia == 0.0);
  }
  options.most_k = 1;
  EXPECT_FAILS(ErrorCode::Usage, "mostK of 2", kmeans(blobs(1, 5, 5, 2, 3.0).rows(), 5, options));
}

}  // namespace

int main() {
  return run("kmeans_space_test", [] {
    at::set_num_threads(2);
    delta_w_is_the_product_of_the_factors();
    delta_w_does_not_see_how_a_change_is_factored();
    standardize_weighs_all_tensors_alike();
    cosine_compares_directions();
    spaces_that_do_not_fit_are_refused();
    quality_is_what_it_says();
    auto_finds_the_number_of_clusters();
  });
}
