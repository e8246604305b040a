// What comes before the first norm: tables of words, positions and types, or patches of images.
#pragma once

#include <ATen/ATen.h>

#include "model/backbone.h"
#include "model/batch.h"

namespace fltac {

// The embedded tokens of a batch, [tokens, hidden] float32, without norm or dropout.
at::Tensor embed(const Backbone& backbone, const PackedBatch& batch);

}  // namespace fltac
