// What comes before the first norm: tables of words, positions and types, or patches of images.
#pragma once

#include <ATen/ATen.h>

#include "model/backbone.h"
#include "model/batch.h"

namespace fltac {

// The embedded tokens of a batch, [tokens, hidden] float32, without norm or dropout.
at::Tensor embed(const Backbone& backbone, const PackedBatch& batch);

// The images of a batch cut into patches, [images x patches, patch values (channel, row, column)] float32 on
// the CPU.
at::Tensor patch_rows(const ImageGrid& grid, const std::vector<BatchImage>& images);

}  // namespace fltac
