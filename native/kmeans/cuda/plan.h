// What the fused path on a GPU starts from and ends with, as far as the CPU prepares and reads it; free of
// CUDA.
#pragma once

#include <span>
#include <vector>

#include "kmeans/cuda/fused_block.h"
#include "kmeans/fused.h"

namespace fltac::cuda {

struct FusedPlan {
  FusedArgs sizes{};                 // no array is set, nor `steps`
  std::vector<float> centroids;      // [problems][clusters][columns], in the frame
  std::vector<float> half_norms;     // [problems][clusters]
  std::vector<ProblemState> states;  // [problems]

  int64_t sets() const { return sizes.problems / sizes.starts; }
};

// The starting point of every start of every data set; all sets have one shape and as many starts.
FusedPlan plan_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options);

// The batch that ended in these states and labels [problems][points], after `sweeps` over each data set.
FusedBatch collect_fused(const FusedPlan& plan, const std::vector<ProblemState>& states,
                         const std::vector<int32_t>& labels, int64_t sweeps);

}  // namespace fltac::cuda
