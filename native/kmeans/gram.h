// Gram matrices of few, long rows, in one pass over them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kmeans/rows.h"

namespace fltac {

using Cancelled = std::function<bool()>;

// Most rows whose Gram matrix is formed: n x n doubles of 2 GiB.
constexpr int64_t kMaxGramRows = 16384;

// Throws ErrorCode::Aborted if `cancelled` is set and says so.
void stop_if_cancelled(const Cancelled& cancelled);

struct ColumnRange {
  int64_t begin;
  int64_t end;
};

// Where the inner products are taken from: from each column's mean over the rows, or from zero.
enum class Origin { kMean, kZero };

// G[i, j] = <x_i - m, x_j - m> over a range of columns, with m the rows' mean or 0: [n, n], symmetric, in
// double. With the mean, its trace is the sum of squared deviations of all values from their columns' means.
//
// Accuracy. Distances come from differences of entries of G, so G must be small where the data are close
// together: hence the shift by m, which no distance sees. x - m is formed in double from float32 values, and
// the rounding of m itself shifts all rows alike. 512 columns are summed in 2 to 8 interleaved sums, the sums
// of blocks one after another in up to 32 lanes, so |error of G_ij| <= (512 + d / 512) eps |x_i - m| |x_j -
// m| with eps = 1.1e-16, and a squared distance is off by at most four times that with the longest |x - m|:
// below 1e-10 of the largest squared spread for d up to 10^8 (in practice about 1e-15, errors being random),
// however large a common offset the rows carry. From zero the same holds with |x_i| |x_j|.
//
// The order of summation depends on n and the range alone, not on threads or on where the rows lie. Errors:
// NonFinite (naming row, column and tensor), Io, Aborted.
std::vector<double> gram_of_columns(const RowSet& rows, ColumnRange range, Origin origin,
                                    const Cancelled& cancelled);

// How far an entry of a Gram matrix may be off: |error of G_ij| <= relative |x_i| |x_j| + absolute.
struct GramError {
  double relative;
  double absolute;
};

// gram_of_columns over all columns from the mean, at twice the rate: x - m, with m rounded to float32 (which
// shifts all rows alike), is rounded to float32 once, and blocks of 1024 columns are multiplied and summed in
// float32; the sums of blocks are added in double. Values whose squares overflow float32 give a matrix that
// is not finite. Errors: as above.
std::vector<double> fast_gram(const RowSet& rows, const Cancelled& cancelled);

// The error of fast_gram for rows of so many columns, with x taken from m. With u = 2^-24, two factors are
// rounded (2 u) and 1024 products go through product_roundings() roundings, 69 with vectors of 64 bytes and
// 132 with 32; sum |x_ic x_jc| <= |x_i| |x_j|, over the blocks too; sums in double add (d / 1024) 1.1e-16,
// within the hundredth that stands for it and for terms of second order. Each product may lose 2^-126 by
// underflow where denormals count as zero.
GramError error_of_fast_gram(int64_t columns);

// Moves the origin of a Gram matrix to the points' mean: G_ij - mean_i - mean_j + mean.
void centre_gram(std::vector<double>& gram, int64_t n);

// Sum of the diagonal.
double trace(const std::vector<double>& gram, int64_t n);

}  // namespace fltac
