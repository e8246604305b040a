// Row kernels of the CPU forward and backward passes. Buffers are contiguous float32; [rows, n] is row-major.
#pragma once

#include <cstdint>

#include "core/philox.h"

namespace fltac::kernels {

// Where a dropout mask is drawn: the op's place in the network and the optimiser step.
struct DropoutPlan {
  Dropout rate;
  uint32_t step;
  uint32_t site;
  const RowKey* rows;  // one per activation row; unused when the rate is not active
};

// y = dropout(x) for [rows, n]; x may equal y.
void dropout(const float* x, const DropoutPlan& plan, int64_t rows, int64_t n, float* y);

// y += dropout(x) for [rows, n]: the input gradient of a dropout joins what is there.
void add_dropout(const float* x, const DropoutPlan& plan, int64_t rows, int64_t n, float* y);

// y = LayerNorm(dropout(x) + residual) * gain + shift for [rows, n]; residual may be null (then 0).
// normed [rows, n] and rstd [rows] are kept for backward; both may be null.
void dropout_add_norm(const float* x, const float* residual, const float* gain, const float* shift, float eps,
                      const DropoutPlan& plan, int64_t rows, int64_t n, float* y, float* normed, float* rstd);

// Backward of dropout_add_norm: from dy to the gradients of residual (dsum) and of x (dx), all [rows, n].
// dy may equal dsum. The gain and shift are frozen.
void dropout_add_norm_backward(const float* dy, const float* normed, const float* rstd, const float* gain,
                               const DropoutPlan& plan, int64_t rows, int64_t n, float* dsum, float* dx);

// x[i] = exp(scale * x[i] - offset) over a row; returns the sum.
float exp_row(float* x, int64_t n, float scale, float offset);

// Largest value of a row.
float max_row(const float* x, int64_t n);

// One AdamW step (torch.optim.AdamW, single-tensor form) over n values.
struct AdamW {
  double lr = 5e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
};
void adamw(const AdamW& options, int64_t step, const float* grad, int64_t n, float* param, float* mean,
           float* square);

}  // namespace fltac::kernels
