#include <cuda_runtime.h>

#include "core/philox_lane.h"
#include "model/masks_kernel.h"

namespace fltac::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 65535;

// Each CUDA block draws whole mask blocks, its threads taking lanes.
__global__ void draw_kernel(const DeviceMaskBlock* blocks, int64_t count, MaskDraw draw, float* mask) {
  for (int64_t b = blockIdx.x; b < count; b += gridDim.x) {
    const DeviceMaskBlock block = blocks[b];
    const int64_t n = static_cast<int64_t>(block.rows) * block.columns;
    const int64_t lanes = (n + kWordsPerChunk - 1) / kWordsPerChunk * kLanesPerChunk;
    for (int64_t lane = threadIdx.x; lane < lanes; lane += blockDim.x) {
      uint32_t values[4];
      philox_lane(block.stream, static_cast<uint32_t>(lane), block.row, draw.site, draw.step, values);
      const int64_t chunk = lane / kLanesPerChunk * kWordsPerChunk;
      for (int part = 0; part < 4; ++part) {
        for (int half = 0; half < 2; ++half) {
          const int64_t word = chunk + philox_place(static_cast<int>(lane % kLanesPerChunk), part) + half;
          if (word >= n) continue;
          const uint32_t drawn = half ? values[part] >> 16 : values[part] & 0xFFFF;
          mask[block.offset + word / block.columns * block.stride + word % block.columns] =
              drawn >= draw.threshold ? draw.scale : 0.0f;
        }
      }
    }
  }
}

}  // namespace

const char* launch_masks(const DeviceMaskBlock* blocks, int64_t count, const MaskDraw& draw, float* mask,
                         void* stream) {
  if (count == 0) return nullptr;
  const auto grid = static_cast<unsigned>(count < kMostBlocks ? count : kMostBlocks);
  draw_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(blocks, count, draw, mask);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace fltac::cuda
