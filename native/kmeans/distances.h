// Distances between rows, as K-means sees them, for pictures and for judging rows one by one.
#pragma once

#include <vector>

#include "kmeans/gram.h"
#include "kmeans/rows.h"
#include "kmeans/space.h"

namespace fltac {

// [n, n] row-major squared distances between the rows in a space: symmetric, in double, zero on the diagonal
// and never negative. From the Gram matrix, whose accuracy gram.h tells. Errors: Usage for no rows or no
// columns, Unsupported for more than kMaxGramRows rows, and those of feature_gram.
std::vector<double> squared_distances(const RowSet& rows, const SpaceOptions& options,
                                      const Cancelled& cancelled);

}  // namespace fltac
