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

// A float32 tensor that is 0 where a value is dropped and the dropout's scale where it stays; 0 outside the
// blocks. The masks are those that the CPU's kernels draw.
at::Tensor draw_masks(const std::vector<MaskBlock>& blocks, const kernels::DropoutPlan& plan,
                      at::IntArrayRef shape, const at::Device& device);

// The mask of an activation [rows, n]: one block a row.
at::Tensor draw_row_masks(const kernels::DropoutPlan& plan, int64_t rows, int64_t n,
                          const at::Device& device);

}  // namespace fltac
