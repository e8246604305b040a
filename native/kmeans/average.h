// Means over few, long rows: one pass over the columns, sums in double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kmeans/rows.h"

namespace fltac {

// out[j] = sum_i weights[i] rows[i][j] / sum_i weights[i], for j in [0, columns): FedAvg of one cluster
// (McMahan et al., 2017, equation 1). Weights are sample counts or any finite values >= 0 with a positive
// sum. Errors: Usage (no rows, another number of weights, bad weights), NonFinite (names row and column).
void weighted_average(std::span<const float* const> rows, int64_t columns, std::span<const double> weights,
                      float* out);

// Means of the clusters that `labels` [n] (0..k-1) gives, written to centroids [k, columns]; an empty
// cluster's is left as it is. Returns the sum of squared distances of the rows to these means (before they
// are rounded to float32). The sums' order depends neither on the number of threads nor on where rows lie.
// Errors: Io.
double cluster_means(const RowSet& rows, std::span<const int32_t> labels, int64_t k, float* centroids);

}  // namespace fltac
