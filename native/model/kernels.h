// Row kernels of the CPU forward and backward passes. Buffers are contiguous float32; [rows, n] is row-major.
#pragma once

#include <array>
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

// LayerNorm of [rows, n]; RMSNorm where shift is null.
struct NormWeights {
  const float* gain;   // [n]
  const float* shift;  // [n] or null
  float eps;
};

// What dropout_add_norm leaves behind: sum = dropout(x) + residual and normed [rows, n], rstd [rows]; each
// may be null.
struct NormTape {
  float* sum;
  float* normed;
  float* rstd;
};

// y = norm(dropout(x) + residual) for [rows, n]; residual may be null (then 0).
void dropout_add_norm(const float* x, const float* residual, const NormWeights& norm, const DropoutPlan& plan,
                      int64_t rows, int64_t n, float* y, const NormTape& tape);

// Backward of dropout_add_norm: from dy, and from what else reaches the sum (dsum_more, may be null), to the
// gradients of residual (dsum) and of x (dx, may be null where nothing is dropped: it equals dsum), all
// [rows, n]. dy may equal dsum. Gain and shift are frozen.
void dropout_add_norm_backward(const float* dy, const float* dsum_more, const float* normed,
                               const float* rstd, const NormWeights& norm, const DropoutPlan& plan,
                               int64_t rows, int64_t n, float* dsum, float* dx);

// The middle of a gated MLP (SwiGLU, Shazeer 2020): active = silu(gate) up, with gate and up side by side in
// hidden [rows, 2 n]; active [rows, n].
void silu_gate(const float* hidden, int64_t rows, int64_t n, float* active);

// From d(active) [rows, n] to d(hidden) [rows, 2 n].
void silu_gate_backward(const float* hidden, const float* dactive, int64_t rows, int64_t n, float* dhidden);

// active = gelu(hidden), the exact form x Phi(x) (Hendrycks and Gimpel 2016), both [rows, n] and not the same
// memory. With `tape` hidden becomes the derivative, which gelu_backward reads: it costs no further
// exponential.
void gelu(float* hidden, int64_t rows, int64_t n, bool tape, float* active);

// dactive becomes d(hidden), both [rows, n].
void gelu_backward(const float* derivative, int64_t rows, int64_t n, float* dactive);

// Dropout of one row: y = dropout(x), both [n], for row `row` of the plan, whose rate is active. words
// [padded_words(n)] is left with what was drawn.
void draw_row(const float* x, const DropoutPlan& plan, int64_t row, int64_t n, uint16_t* words, float* y);

// y += dropout(x) with drawn words.
void add_masked_row(const float* x, const Dropout& rate, const uint16_t* words, int64_t n, float* y);

// y += x
void add_row(const float* x, int64_t n, float* y);

// Four rows of n values; they may be one another.
using RowsOfFour = std::array<const float*, 4>;

// out[r] = the inner product of row r with `with`.
void dots(const RowsOfFour& rows, const float* with, int64_t n, float* out);

// y += factors[0] row 0 + ... + factors[3] row 3
void combine(const RowsOfFour& rows, const float* factors, int64_t n, float* y);

// x *= factor
void scale_row(float* x, int64_t n, float factor);

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
