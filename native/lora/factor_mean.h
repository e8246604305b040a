// The mean of LoRA's products B A, which is not the product of the factors' means.
#pragma once

#include <cstdint>
#include <span>

#include "lora/layout.h"

namespace fltac {

// Squared Frobenius norms, summed over the modules of a layout. With weights w_i of sum 1:
struct FactorMean {
  double mean = 0;   // ||sum w_i B_i A_i||^2
  double error = 0;  // ||sum w_i B_i A_i - (sum w_i B_i)(sum w_i A_i)||^2
  double lost = 0;   // what the rank cuts off the mean; 0 where nothing was factored
};

// Compares both means over some adapters, in float64 and without forming a [outputs, inputs] matrix unless
// the stacked factors are larger than it.
//
// With `factored` (a flat adapter that holds the factors' means already), its factors become those of the
// mean product, cut to the rank by a singular value decomposition and balanced: B = U sqrt(S), A = sqrt(S)
// V^T, the sign by which the largest entry of a column of B is positive. A direction without weight (S = 0)
// keeps the mean's row of A beside a column of zeros, so that it can be trained. A single adapter is its own
// mean and stays as it is.
//
// rows: flat adapters of the layout. weights: one a row, not negative, of a positive sum. Throws Usage
// otherwise, NonFinite for a product that is not finite.
FactorMean mean_of_products(const AdapterLayout& layout, std::span<const float* const> rows,
                            std::span<const double> weights, float* factored);

}  // namespace fltac
