// Hartigan's single-point exchange, from where Lloyd's iteration has stopped.
//
// Few points in many dimensions are nearly at right angles to each other, so each lies nearest the centroid
// it has a share in, and Lloyd stops after an iteration or two wherever k-means++ began. Hartigan's rule
// compares what inertia would be with the point moved, its share included: it leaves only clusterings that no
// single move improves, all of which are fixed points of Lloyd's iteration too (Telgarsky and Vattani,
// "Hartigan's method: k-means clustering without Voronoi", AISTATS 2010). In Gram space a pass over all
// points costs n k operations and n for each move.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kmeans/lloyd.h"

namespace fltac {

// Moves points between the clusters of `labels` [n] (0..k-1, each with a point) while a move lowers inertia,
// in at most `max_passes` passes; empties no cluster. Returns the number of moves.
int64_t exchange_points(const GramPoints& points, int64_t k, int64_t max_passes,
                        const std::function<bool()>& cancelled, std::vector<int32_t>& labels);

}  // namespace fltac
