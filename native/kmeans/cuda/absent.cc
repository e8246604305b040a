// The CUDA paths in a build without CUDA.
#if !FLTAC_WITH_CUDA

#include "core/error.h"
#include "kmeans/cuda/cuda.h"

namespace fltac::cuda {

bool device_present() { return false; }

void require_device() {
  fail(ErrorCode::Unsupported,
       "device \"cuda\" was asked for, but this build has no CUDA: use \"cpu\" or \"auto\", or build with a "
       "CUDA libtorch and nvcc (FLTAC_CUDA=on npm run build:native says what is missing)");
}

std::vector<double> gram_of_columns(const RowSet&, ColumnRange, Origin, const Cancelled&) {
  require_device();
  return {};
}

FusedBatch run_fused(std::span<const FusedData>, std::span<const Seeds>, const KmeansOptions&) {
  require_device();
  return {};
}

}  // namespace fltac::cuda

#endif
