#include "kmeans/distances.h"

#include <algorithm>
#include <cstddef>

#include "core/error.h"

namespace fltac {

std::vector<double> squared_distances(const RowSet& rows, const SpaceOptions& options,
                                      const Cancelled& cancelled) {
  const int64_t n = rows.rows();
  if (n < 1 || rows.columns() < 1)
    fail(ErrorCode::Usage, "distances need rows and columns, found ", n, " x ", rows.columns());
  if (n > kMaxGramRows) {
    fail(ErrorCode::Unsupported, "distances are formed for at most ", kMaxGramRows, " rows, found ", n,
         ": pass fewer rows");
  }
  std::vector<double> gram = feature_gram(rows, options, gram_of_columns, cancelled);
  const auto side = static_cast<size_t>(n);
  std::vector<double> lengths(side);
  for (size_t i = 0; i < side; ++i) lengths[i] = gram[i * side + i];
  // In place: each entry is read before it is written, and its lengths are kept.
  for (size_t i = 0; i < side; ++i) {
    for (size_t j = 0; j < side; ++j) {
      double& value = gram[i * side + j];
      value = i == j ? 0.0 : std::max(0.0, lengths[i] + lengths[j] - 2 * value);
    }
  }
  return gram;
}

}  // namespace fltac
