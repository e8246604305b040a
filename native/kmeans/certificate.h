// Whether the error of a Gram matrix can have decided what was found in it.
#pragma once

#include <cstdint>
#include <span>

#include "kmeans/gram.h"
#include "kmeans/lloyd.h"

namespace fltac {

// True if no error within `error` can change which cluster's mean any point lies nearest to under the labels
// of `best`, nor that `best`, one of `starts`, has the least inertia of the different clusterings among them.
// The Gram matrix of `points` is the one that carries the error; `starts` are results of run_start with k
// clusters.
//
// A mean is sum_j p_j x_j with p >= 0 and sum p = 1, and a squared distance to it
//   G_ii - 2 sum_j p_j G_ij + sum_jl p_j p_l G_jl
// is off by at most relative (|x_i| + R)^2 + 4 absolute with R = sum_j p_j |x_j|; inertia is a sum of them.
//
// What is certified is the clustering, not the way to it: k-means++ draws by distances, so with an error a
// start may begin elsewhere, and is then another start, as good as any.
bool decided_beyond(const GramError& error, const GramPoints& points, int64_t k, const LloydResult& best,
                    std::span<const LloydResult> starts);

}  // namespace fltac
