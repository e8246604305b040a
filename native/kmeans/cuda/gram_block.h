// What one GPU thread does to centre a column before the products of the Gram matrix; see team.h.
#pragma once

#include "kmeans/cuda/team.h"

namespace fltac::cuda {

// Writes column `column` of block [rows, width], less its mean where `centre` is set, to out [rows, width] in
// double; false if it holds NaN or infinity.
FLTAC_HD inline bool centre_column(const float* block, int64_t rows, int64_t width, int64_t column,
                                   bool centre, double* out) {
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) sum += static_cast<double>(block[i * width + column]);
  const double mean = centre ? sum / static_cast<double>(rows) : 0.0;
  for (int64_t i = 0; i < rows; ++i)
    out[i * width + column] = static_cast<double>(block[i * width + column]) - mean;
  return sum * 0.0 == 0.0;
}

}  // namespace fltac::cuda
