#include <cuda_runtime.h>

#include "model/cuda_device.h"

namespace fltac::cuda {

int capability_major(int device) {
  int major = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return error == cudaSuccess ? major : 0;
}

}  // namespace fltac::cuda
