// Dropout masks as tensors, for devices whose kernels do not draw them on the way.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/kernels.h"

namespace fltac {

// A block of a mask [rows, columns], whose words are drawn one row after another under one key.
struct MaskBlock {
  RowKey key;
  int64_t rows, columns;
  int64_t offset;  // of its first value in the mask's memory
  int64_t stride;  // values from row to row
};

// The blocks of one mask, on the device where it is drawn: for any step and site.
class MaskBlocks {
 public:
  MaskBlocks(std::vector<MaskBlock> blocks, const at::Device& device);
  // The blocks of an activation [rows, n]: one a row.
  static MaskBlocks of_rows(const RowKey* keys, int64_t rows, int64_t n, const at::Device& device);

  // A float32 tensor that is 0 where a value is dropped and the dropout's scale where it stays; 0 outside the
  // blocks. The masks are those that the CPU's kernels draw; the plan's keys are not read.
  at::Tensor draw(const kernels::DropoutPlan& plan, at::IntArrayRef shape) const;

 private:
  at::Device device_;
  std::vector<MaskBlock> blocks_;  // where the CPU draws
  at::Tensor uploaded_;            // else, as cuda::DeviceMaskBlock
  int64_t count_;
  int64_t values_ = 0;  // in all blocks
};

}  // namespace fltac
