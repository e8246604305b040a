// The Gram matrix of few, long rows, in one pass over them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fltac {

// Throws ErrorCode::Aborted if `cancelled` is set and says so.
void stop_if_cancelled(const std::function<bool()>& cancelled);

// Throws ErrorCode::NonFinite naming the first row that is NaN or infinite in `column`.
[[noreturn]] void fail_non_finite(std::span<const float* const> rows, int64_t column);

// G[i, j] = <x_i - m, x_j - m> with m the mean of the rows: [n, n], symmetric, in double. Its trace is the
// sum of squared deviations of all values from their columns' means.
//
// Accuracy. Distances come from differences of entries of G, so G must be small where the data are close
// together: hence the shift by m, which no distance sees. x - m is formed in double from float32 values, and
// the rounding of m itself shifts all rows alike. Blocks of columns are summed by BLAS and added up over d /
// block steps, so |error of G_ij| <= (block + d / block) eps |x_i - m| |x_j - m| with eps = 1.1e-16, and a
// squared distance is off by at most four times that with the longest |x - m|: below 1e-11 of the largest
// squared spread for d up to 10^8 (in practice about 1e-15, errors being random), however large a common
// offset the rows carry.
//
// The sum's order depends on n and columns alone, not on the number of threads.
std::vector<double> centred_gram(std::span<const float* const> rows, int64_t columns,
                                 const std::function<bool()>& cancelled);

}  // namespace fltac
