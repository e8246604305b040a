// K-means on an NVIDIA GPU. The same functions exist in a build without CUDA, where they say that it has
// none.
#pragma once

#include <span>
#include <vector>

#include "kmeans/fused.h"
#include "kmeans/gram.h"

namespace fltac::cuda {

// Whether this build has CUDA and the machine a device for it.
bool device_present();

// Errors: Unsupported, saying what is missing and what to do.
void require_device();

// As fltac::gram_of_columns. Products in double, on the FP64 tensor cores where the device has them (cuBLAS
// through libtorch). Blocks of columns travel to the device one after another. Errors: also OutOfMemory,
// Unsupported.
std::vector<double> gram_of_columns(const RowSet& rows, ColumnRange range, Origin origin,
                                    const Cancelled& cancelled);

// As fltac::run_fused, all starts of all data sets (of one shape) in one sequence of launches. The rows must
// fit in the device's memory. Products in float32 (no tensor cores), sums in fixed point, so that the result
// does not depend on the order in which blocks run. Errors: also OutOfMemory, Unsupported.
FusedBatch run_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options);

}  // namespace fltac::cuda
