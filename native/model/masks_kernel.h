// The CUDA kernel of model/masks.h; includes no libtorch header.
#pragma once

#include <cstdint>

namespace fltac::cuda {

// MaskBlock as the device reads it.
struct DeviceMaskBlock {
  uint64_t stream;
  int64_t offset, stride;
  uint32_t row;
  int32_t rows, columns;
};

struct MaskDraw {
  uint32_t step, site, threshold;
  float scale;
};

// Draws `count` blocks that lie in device memory into `mask` on a CUDA stream. Returns null, or CUDA's words
// for what went wrong.
const char* launch_masks(const DeviceMaskBlock* blocks, int64_t count, const MaskDraw& draw, float* mask,
                         void* stream);

}  // namespace fltac::cuda
