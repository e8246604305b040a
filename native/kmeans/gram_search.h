// The Gram path after its one pass over the rows: everything else happens among n x n inner products.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kmeans/gram.h"
#include "kmeans/kmeans.h"
#include "kmeans/rows.h"

namespace fltac {

// Clusters the points whose Gram matrix is `gram` [n, n], origin at their mean; `rows` are asked only which
// of them are equal. Sets all of the result but counts, centroids and path. With an `error` of the matrix,
// returns false, and leaves the result as it was, where it may have decided the outcome
// (kmeans/certificate.h). Errors: Aborted.
bool search_in_gram(const RowSet& rows, std::vector<double> gram, const std::optional<GramError>& error,
                    const KmeansOptions& options, KmeansResult& result);

}  // namespace fltac
