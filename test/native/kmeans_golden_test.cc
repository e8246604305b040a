// K-means and averaging on the shared reference problems, each by its own `check`, and on the submissions of
// the published code.
#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "check.h"
#include "kmeans/average.h"
#include "kmeans/kmeans.h"
#include "kmeans_reference.h"
#include "model/safetensors.h"

namespace {

using namespace fltac;
using namespace fltac::test;
using nlohmann::json;

json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return json::parse(in);
}

std::vector<const float*> rows_of(const at::Tensor& matrix) {
  std::vector<const float*> rows;
  for (int64_t i = 0; i < matrix.size(0); ++i)
    rows.push_back(matrix.const_data_ptr<float>() + i * matrix.size(1));
  return rows;
}

std::vector<Point> points_of(const at::Tensor& matrix) {
  std::vector<Point> points;
  for (const float* row : rows_of(matrix)) points.emplace_back(row, row + matrix.size(1));
  return points;
}

// Adjusted Rand index (Hubert and Arabie, 1985).
double adjusted_rand(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto pairs = [](double n) { return n * (n - 1) / 2; };
  std::map<std::pair<int32_t, int32_t>, double> both;
  std::map<int32_t, double> in_a, in_b;
  for (size_t i = 0; i < a.size(); ++i) {
    both[{a[i], b[i]}] += 1;
    in_a[a[i]] += 1;
    in_b[b[i]] += 1;
  }
  double together = 0, sum_a = 0, sum_b = 0;
  for (const auto& item : both) together += pairs(item.second);
  for (const auto& item : in_a) sum_a += pairs(item.second);
  for (const auto& item : in_b) sum_b += pairs(item.second);
  const double expected = sum_a * sum_b / pairs(static_cast<double>(a.size()));
  const double most = (sum_a + sum_b) / 2;
  return most == expected ? 1.0 : (together - expected) / (most - expected);
}

void check_problem(const std::string& name, const json& problem, const at::Tensor& matrix) {
  const json& bounds = problem.at("check");
  for (const uint64_t seed : {0, 1, 42}) {
    KmeansOptions options;
    options.k = problem.at("k");
    options.seed = seed;
    const KmeansResult result = kmeans(rows_of(matrix), matrix.size(1), options);
    const double direct = inertia_of(points_of(matrix), result.labels, static_cast<size_t>(options.k));
    EXPECT(std::abs(result.inertia - direct) <= 1e-9 * direct + 1e-12, name, result.inertia, direct);
    const double ratio = result.inertia / problem.at("best_inertia").get<double>();
    if (bounds.contains("max_inertia")) {
      EXPECT(result.inertia <= bounds.at("max_inertia").get<double>(), name, result.inertia);
    } else {
      EXPECT(ratio <= bounds.at("max_inertia_over_best").get<double>(), name, "seed", seed, ratio);
    }
    const double ari = adjusted_rand(result.labels, problem.at("best_labels").get<std::vector<int32_t>>());
    const json& least = bounds.at("min_ari_against_best");
    if (!least.is_null()) EXPECT(ari >= least.get<double>(), name, "seed", seed, ari);
    std::cout << name << " seed " << seed << ": inertia / best " << ratio << ", ARI " << ari
              << ", iterations " << result.iterations << ", re-seeded " << result.reseeded << '\n';
  }
}

void golden_problems_pass_their_checks(const std::filesystem::path& golden) {
  const json problems = read_json(golden / "kmeans.json").at("problems");
  const SafetensorsModel data = SafetensorsModel::open((golden / "kmeans.safetensors").string());
  EXPECT(!problems.empty());
  for (const auto& [name, problem] : problems.items()) {
    check_problem(name, problem, data.load(problem.at("X").get<std::string>(), at::kFloat));
  }
}

// Submissions are stored tensor by tensor as "NN/name": one flat row each, names in order.
at::Tensor flat_submissions(const SafetensorsModel& model, size_t count) {
  std::vector<std::vector<at::Tensor>> parts(count);
  for (const auto& item : model.entries()) {
    const size_t slash = item.first.find('/');
    parts.at(static_cast<size_t>(std::stoi(item.first.substr(0, slash))))
        .push_back(model.load(item.first, at::kFloat).flatten());
  }
  std::vector<at::Tensor> rows;
  for (const auto& row : parts) rows.push_back(at::cat(row));
  return at::stack(rows);
}

void check_averages(const at::Tensor& matrix, const json& submissions, const std::vector<int32_t>& labels,
                    int64_t k) {
  const auto rows = rows_of(matrix);
  for (int32_t c = 0; c < k; ++c) {
    std::vector<const float*> members;
    std::vector<double> weights;
    at::Tensor sum = at::zeros({matrix.size(1)}, at::kDouble);
    double total = 0;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] != c) continue;
      members.push_back(rows[i]);
      weights.push_back(submissions[i].at("n"));
      sum += matrix[static_cast<int64_t>(i)].to(at::kDouble) * weights.back();
      total += weights.back();
    }
    at::Tensor out = at::empty({matrix.size(1)}, at::kFloat);
    weighted_average(members, matrix.size(1), weights, out.data_ptr<float>());
    const double worst = (out.to(at::kDouble) - sum / total).abs().max().item<double>();
    EXPECT(worst <= 1e-7, "cluster", c, worst);  // float32 rounding of values below 2
  }
}

void published_submissions_cluster_as_published_or_better(const std::filesystem::path& run) {
  const json runs = read_json(run / "runs.json");
  for (const std::string name : {"a_round_1", "a_round_3", "q_round_1", "q_round_3"}) {
    const json& record = runs.at(name);
    const auto published = record.at("labels").get<std::vector<int32_t>>();
    const SafetensorsModel data =
        SafetensorsModel::open((run / ("submissions_" + name + ".safetensors")).string());
    const at::Tensor matrix = flat_submissions(data, published.size());
    KmeansOptions options;
    options.k = *std::max_element(published.begin(), published.end()) + 1;
    options.seed = 42;
    const KmeansResult result = kmeans(rows_of(matrix), matrix.size(1), options);
    const double theirs = inertia_of(points_of(matrix), published, static_cast<size_t>(options.k));
    EXPECT(result.inertia <= theirs * (1 + 1e-9), name, result.inertia, theirs);
    std::cout << name << ": inertia " << result.inertia << ", published labels " << theirs << ", ARI "
              << adjusted_rand(result.labels, published) << '\n';
    check_averages(matrix, record.at("submissions"), result.labels, options.k);
  }
}

}  // namespace

int main() {
  return run("kmeans_golden_test", [] {
    const auto shared = shared_folder();
    if (!shared) return;
    golden_problems_pass_their_checks(*shared / "golden");
    published_submissions_cluster_as_published_or_better(*shared / "golden" / "published_run");
  });
}
