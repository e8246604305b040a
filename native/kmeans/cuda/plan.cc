#include "kmeans/cuda/plan.h"

#include <algorithm>
#include <limits>

namespace fltac::cuda {

FusedPlan plan_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options) {
  FusedPlan plan;
  FusedArgs& sizes = plan.sizes;
  sizes.points = static_cast<int64_t>(data.front().rows.size());
  sizes.columns = data.front().columns;
  sizes.starts = static_cast<int64_t>(seeds.front().size());
  sizes.problems = sizes.starts * static_cast<int64_t>(data.size());
  for (const Seeds& of_set : seeds) {
    for (const auto& of_start : of_set)
      sizes.clusters = std::max(sizes.clusters, static_cast<int64_t>(of_start.size()));
  }
  plan.centroids.resize(static_cast<size_t>(sizes.problems * sizes.clusters * sizes.columns));
  plan.half_norms.assign(static_cast<size_t>(sizes.problems * sizes.clusters),
                         std::numeric_limits<float>::infinity());
  const auto starts = static_cast<size_t>(sizes.starts), columns = static_cast<size_t>(sizes.columns);
  for (size_t b = 0; b < static_cast<size_t>(sizes.problems); ++b) {
    const FusedData& set = data[b / starts];
    const std::vector<int64_t>& of_start = seeds[b / starts][b % starts];
    const auto scale = static_cast<double>(set.frame.scale);
    ProblemState state{};
    state.tolerance = options.tol * set.mean_variance * scale * scale;
    state.used = static_cast<int32_t>(of_start.size());
    plan.states.push_back(state);
    for (size_t c = 0; c < of_start.size(); ++c) {
      const float* row = set.rows[static_cast<size_t>(of_start[c])];
      const size_t at = b * static_cast<size_t>(sizes.clusters) + c;
      double norm2 = 0;
      for (size_t j = 0; j < columns; ++j) {
        const float value = set.frame.scale * row[j] - set.frame.shift[j];
        plan.centroids[at * columns + j] = value;
        norm2 += static_cast<double>(value) * static_cast<double>(value);
      }
      plan.half_norms[at] = static_cast<float>(norm2 / 2);
    }
  }
  return plan;
}

FusedBatch collect_fused(const FusedPlan& plan, const std::vector<ProblemState>& states,
                         const std::vector<int32_t>& labels, int64_t sweeps) {
  FusedBatch batch;
  batch.sweeps = sweeps * plan.sets();
  batch.starts.resize(static_cast<size_t>(plan.sets()));
  for (int64_t b = 0; b < plan.sizes.problems; ++b) {
    const ProblemState& state = states[static_cast<size_t>(b)];
    FusedStart start;
    const auto first = labels.begin() + b * plan.sizes.points;
    start.labels.assign(first, first + plan.sizes.points);
    start.inertia = state.inertia;
    start.iterations = state.iterations;
    start.reseeded = state.reseeded;
    batch.starts[static_cast<size_t>(b / plan.sizes.starts)].push_back(std::move(start));
  }
  return batch;
}

}  // namespace fltac::cuda
