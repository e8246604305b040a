// Turns errors of the CUDA runtime into the core's. C++17, for .cu files too.
#pragma once

#include <cuda_runtime_api.h>

#include "core/error.h"

namespace fltac::cuda {

// Throws for anything but success, naming what was being done. Errors: OutOfMemory, Unsupported (a device or
// driver that this build is not for), Internal.
inline void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const char* text = cudaGetErrorString(status);
  switch (status) {
    case cudaErrorMemoryAllocation:
      fail(ErrorCode::OutOfMemory, "the GPU's memory ran out while ", doing, ": use device \"cpu\"");
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      fail(ErrorCode::Unsupported, "CUDA failed while ", doing, ": ", text,
           "; this build is not for this GPU or driver: use device \"cpu\" or build again "
           "(TORCH_CUDA_ARCH_LIST)");
    default:
      fail(ErrorCode::Internal, "CUDA failed while ", doing, ": ", text);
  }
}

}  // namespace fltac::cuda
