// AdamW by tensor operations, for parameters that lie on any device.
#pragma once

#include <ATen/ATen.h>

#include "model/kernels.h"

namespace fltac {

// The arithmetic of kernels::adamw over tensors of one shape and device, in place.
void adamw(const kernels::AdamW& options, int64_t step, const at::Tensor& gradient, at::Tensor parameters,
           at::Tensor mean, at::Tensor square);

}  // namespace fltac
