#include "model/kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/clones.h"

namespace fltac::kernels {
namespace {

// Rows per task such that a task is worth waking a thread for.
int64_t grain(int64_t n) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)); }

FLTAC_CLONES void mask_row(const float* x, const uint16_t* words, uint32_t threshold, float scale, int64_t n,
                           float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = words[i] >= threshold ? x[i] * scale : 0.0f;
}

FLTAC_CLONES void add_mask_row(const float* x, const uint16_t* words, uint32_t threshold, float scale,
                               int64_t n, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += words[i] >= threshold ? x[i] * scale : 0.0f;
}

FLTAC_CLONES void add_row_body(const float* x, int64_t n, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

// normed = (sum - mean) / std, y = normed * gain + shift; returns 1 / std. Two passes, as torch's LayerNorm.
FLTAC_CLONES float norm_row(const float* sum, const float* gain, const float* shift, float eps, int64_t n,
                            float* y, float* normed) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += sum[i];
  const float mean = total / static_cast<float>(n);
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += (sum[i] - mean) * (sum[i] - mean);
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float value = (sum[i] - mean) * rstd;
    normed[i] = value;
    y[i] = value * gain[i] + shift[i];
  }
  return rstd;
}

// normed = sum / root mean square, y = normed * gain; returns 1 / root mean square (Zhang and Sennrich 2019).
FLTAC_CLONES float rms_norm_row(const float* sum, const float* gain, float eps, int64_t n, float* y,
                                float* normed) {
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += sum[i] * sum[i];
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float value = sum[i] * rstd;
    normed[i] = value;
    y[i] = value * gain[i];
  }
  return rstd;
}

// With g = dy * gain: dsum = rstd (g - mean(g) - normed mean(g normed)).
FLTAC_CLONES void norm_backward_row(const float* dy, const float* normed, float rstd, const float* gain,
                                    int64_t n, float* dsum) {
  float a = 0.0f, b = 0.0f;
#pragma omp simd reduction(+ : a, b)
  for (int64_t i = 0; i < n; ++i) {
    const float g = dy[i] * gain[i];
    a += g;
    b += g * normed[i];
  }
  a /= static_cast<float>(n);
  b /= static_cast<float>(n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dsum[i] = rstd * (dy[i] * gain[i] - a - normed[i] * b);
}

// exp(v) = 2^k exp(r), |r| <= ln2 / 2; degree-6 polynomial (Cephes expf), relative error below 2e-7. For v
// from -87 to 88. Part of the loops that call it, which are compiled for each instruction set.
__attribute__((always_inline)) inline float exp_of(float v) {
  const float k = (v * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
  const float r = (v - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

__attribute__((always_inline)) inline float sigmoid_of(float v) {
  return 1.0f / (1.0f + exp_of(std::min(std::max(-v, -87.0f), 88.0f)));
}

// 1 - Phi(a) over the normal density's e^(-a^2 / 2), for a >= 0: a polynomial in 1 / (1 + 0.3 a), fitted for
// the least relative error, 1.3e-7. Phi is the normal distribution's function.
__attribute__((always_inline)) inline float normal_tail(float a) {
  const float t = 1.0f / (1.0f + 0.3f * a);
  float p = 0.035932913f;
  p = p * t - 0.158281f;
  p = p * t + 0.20821539f;
  p = p * t - 0.055402063f;
  p = p * t + 0.12947361f;
  p = p * t + 0.099636145f;
  p = p * t + 0.12079858f;
  p = p * t + 0.11962637f;
  return p * t;
}

FLTAC_CLONES void gelu_row(const float* x, int64_t n, float* active) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    const float density = exp_of(std::max(-0.5f * v * v, -87.0f));
    const float tail = normal_tail(std::abs(v)) * density;
    active[i] = v * (v < 0.0f ? tail : 1.0f - tail);
  }
}

// As gelu_row, and x becomes the derivative Phi(x) + x Phi'(x).
FLTAC_CLONES void gelu_tape_row(float* x, int64_t n, float* active) {
  constexpr float kDensityAtZero = 0.3989422804f;  // 1 / sqrt(2 pi)
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    const float density = exp_of(std::max(-0.5f * v * v, -87.0f));
    const float tail = normal_tail(std::abs(v)) * density;
    const float phi = v < 0.0f ? tail : 1.0f - tail;
    active[i] = v * phi;
    x[i] = phi + v * (density * kDensityAtZero);
  }
}

FLTAC_CLONES void multiply_row(const float* factor, int64_t n, float* x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] *= factor[i];
}

// Sums of the products of four rows with one.
FLTAC_CLONES void dots_body(const RowsOfFour& rows, const float* with, int64_t n, float* out) {
  const float *x0 = rows[0], *x1 = rows[1], *x2 = rows[2], *x3 = rows[3];
  float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
#pragma omp simd reduction(+ : a, b, c, d)
  for (int64_t i = 0; i < n; ++i) {
    a += x0[i] * with[i];
    b += x1[i] * with[i];
    c += x2[i] * with[i];
    d += x3[i] * with[i];
  }
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
}

FLTAC_CLONES void combine_body(const RowsOfFour& rows, const float* factors, int64_t n, float* y) {
  const float *x0 = rows[0], *x1 = rows[1], *x2 = rows[2], *x3 = rows[3];
  const float a = factors[0], b = factors[1], c = factors[2], d = factors[3];
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += a * x0[i] + b * x1[i] + c * x2[i] + d * x3[i];
}

FLTAC_CLONES float exp_row_body(float* x, int64_t n, float scale, float offset) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) {
    const float value = exp_of(std::max(x[i] * scale - offset, -87.0f));
    x[i] = value;
    total += value;
  }
  return total;
}

FLTAC_CLONES void silu_gate_row(const float* gate, const float* up, int64_t n, float* active) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) active[i] = gate[i] * sigmoid_of(gate[i]) * up[i];
}

// silu'(g) = s (1 + g (1 - s)) with s the sigmoid.
FLTAC_CLONES void silu_gate_backward_row(const float* gate, const float* up, const float* dactive, int64_t n,
                                         float* dgate, float* dup) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float s = sigmoid_of(gate[i]);
    dgate[i] = dactive[i] * up[i] * s * (1.0f + gate[i] * (1.0f - s));
    dup[i] = dactive[i] * gate[i] * s;
  }
}

FLTAC_CLONES void scale_row_body(float* x, int64_t n, float factor) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

FLTAC_CLONES float max_row_body(const float* x, int64_t n) {
  float best = x[0];
#pragma omp simd reduction(max : best)
  for (int64_t i = 1; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// With g = dy * gain: dsum = rstd (g - normed mean(g normed)).
FLTAC_CLONES void rms_norm_backward_row(const float* dy, const float* normed, float rstd, const float* gain,
                                        int64_t n, float* dsum) {
  float b = 0.0f;
#pragma omp simd reduction(+ : b)
  for (int64_t i = 0; i < n; ++i) b += dy[i] * gain[i] * normed[i];
  b /= static_cast<float>(n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dsum[i] = rstd * (dy[i] * gain[i] - normed[i] * b);
}

// share1 and share2 are 1 - beta, rounded once from double as torch does: in float32 1 - 0.999 is off by
// 1e-5.
FLTAC_CLONES void adamw_range(const float* grad, int64_t n, float decay, float share1, float beta2,
                              float share2, float step_size, float root, float eps, float* param, float* mean,
                              float* square) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i];
    const float m = mean[i] + share1 * (g - mean[i]);
    const float v = square[i] * beta2 + share2 * g * g;
    mean[i] = m;
    square[i] = v;
    param[i] = param[i] * decay - step_size * (m / (std::sqrt(v) / root + eps));
  }
}

}  // namespace

void dropout(const float* x, const DropoutPlan& plan, int64_t rows, int64_t n, float* y) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> words(static_cast<size_t>(padded_words(n)));
    for (int64_t r = begin; r < end; ++r) {
      philox_words(plan.rows[r], plan.step, plan.site, n, words.data());
      mask_row(x + r * n, words.data(), plan.rate.threshold, plan.rate.scale, n, y + r * n);
    }
  });
}

void add_dropout(const float* x, const DropoutPlan& plan, int64_t rows, int64_t n, float* y) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> words(static_cast<size_t>(padded_words(n)));
    for (int64_t r = begin; r < end; ++r) {
      if (plan.rate.active()) {
        philox_words(plan.rows[r], plan.step, plan.site, n, words.data());
        add_mask_row(x + r * n, words.data(), plan.rate.threshold, plan.rate.scale, n, y + r * n);
      } else {
        add_row_body(x + r * n, n, y + r * n);
      }
    }
  });
}

void dropout_add_norm(const float* x, const float* residual, const NormWeights& norm, const DropoutPlan& plan,
                      int64_t rows, int64_t n, float* y, const NormTape& tape) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> words(static_cast<size_t>(padded_words(n)));
    std::vector<float> own_sum(tape.sum ? 0 : static_cast<size_t>(n));
    std::vector<float> own_normed(tape.normed ? 0 : static_cast<size_t>(n));
    for (int64_t r = begin; r < end; ++r) {
      float* sum = tape.sum ? tape.sum + r * n : own_sum.data();
      if (plan.rate.active()) {
        philox_words(plan.rows[r], plan.step, plan.site, n, words.data());
        mask_row(x + r * n, words.data(), plan.rate.threshold, plan.rate.scale, n, sum);
      } else {
        std::copy_n(x + r * n, n, sum);
      }
      if (residual) add_row_body(residual + r * n, n, sum);
      float* normed = tape.normed ? tape.normed + r * n : own_normed.data();
      const float inverse = norm.shift ? norm_row(sum, norm.gain, norm.shift, norm.eps, n, y + r * n, normed)
                                       : rms_norm_row(sum, norm.gain, norm.eps, n, y + r * n, normed);
      if (tape.rstd) tape.rstd[r] = inverse;
    }
  });
}

void dropout_add_norm_backward(const float* dy, const float* dsum_more, const float* normed,
                               const float* rstd, const NormWeights& norm, const DropoutPlan& plan,
                               int64_t rows, int64_t n, float* dsum, float* dx) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> words(static_cast<size_t>(padded_words(n)));
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * n;
      if (norm.shift) {
        norm_backward_row(dy + at, normed + at, rstd[r], norm.gain, n, dsum + at);
      } else {
        rms_norm_backward_row(dy + at, normed + at, rstd[r], norm.gain, n, dsum + at);
      }
      if (dsum_more) add_row_body(dsum_more + at, n, dsum + at);
      if (!dx) continue;
      if (plan.rate.active()) {
        philox_words(plan.rows[r], plan.step, plan.site, n, words.data());
        mask_row(dsum + at, words.data(), plan.rate.threshold, plan.rate.scale, n, dx + at);
      } else {
        std::copy_n(dsum + at, n, dx + at);
      }
    }
  });
}

void silu_gate(const float* hidden, int64_t rows, int64_t n, float* active) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* gate = hidden + 2 * r * n;
      silu_gate_row(gate, gate + n, n, active + r * n);
    }
  });
}

void silu_gate_backward(const float* hidden, const float* dactive, int64_t rows, int64_t n, float* dhidden) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* gate = hidden + 2 * r * n;
      float* dgate = dhidden + 2 * r * n;
      silu_gate_backward_row(gate, gate + n, dactive + r * n, n, dgate, dgate + n);
    }
  });
}

void gelu(float* hidden, int64_t rows, int64_t n, bool tape, float* active) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n, count = (end - begin) * n;
    if (tape) {
      gelu_tape_row(hidden + at, count, active + at);
    } else {
      gelu_row(hidden + at, count, active + at);
    }
  });
}

void gelu_backward(const float* derivative, int64_t rows, int64_t n, float* dactive) {
  at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
    multiply_row(derivative + begin * n, (end - begin) * n, dactive + begin * n);
  });
}

void draw_row(const float* x, const DropoutPlan& plan, int64_t row, int64_t n, uint16_t* words, float* y) {
  philox_words(plan.rows[row], plan.step, plan.site, n, words);
  mask_row(x, words, plan.rate.threshold, plan.rate.scale, n, y);
}

void add_masked_row(const float* x, const Dropout& rate, const uint16_t* words, int64_t n, float* y) {
  add_mask_row(x, words, rate.threshold, rate.scale, n, y);
}

void add_row(const float* x, int64_t n, float* y) { add_row_body(x, n, y); }

void dots(const RowsOfFour& rows, const float* with, int64_t n, float* out) { dots_body(rows, with, n, out); }

void combine(const RowsOfFour& rows, const float* factors, int64_t n, float* y) {
  combine_body(rows, factors, n, y);
}

void scale_row(float* x, int64_t n, float factor) { scale_row_body(x, n, factor); }

float exp_row(float* x, int64_t n, float scale, float offset) { return exp_row_body(x, n, scale, offset); }

float max_row(const float* x, int64_t n) { return max_row_body(x, n); }

void adamw(const AdamW& options, int64_t step, const float* grad, int64_t n, float* param, float* mean,
           float* square) {
  const double correction1 = 1.0 - std::pow(options.beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(options.beta2, static_cast<double>(step));
  const auto decay = static_cast<float>(1.0 - options.lr * options.weight_decay);
  const auto step_size = static_cast<float>(options.lr / correction1);
  const auto root = static_cast<float>(std::sqrt(correction2));
  const auto share1 = static_cast<float>(1.0 - options.beta1);
  const auto share2 = static_cast<float>(1.0 - options.beta2);
  at::parallel_for(0, n, 32768, [&](int64_t begin, int64_t end) {
    adamw_range(grad + begin, end - begin, decay, share1, static_cast<float>(options.beta2), share2,
                step_size, root, static_cast<float>(options.eps), param + begin, mean + begin,
                square + begin);
  });
}

}  // namespace fltac::kernels
