#include "model/rotary.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/clones.h"
#include "core/transfer.h"

namespace fltac {
namespace {

FLTAC_CLONES void turn_head(const float* cosine, const float* sine, int64_t half, float sign, float* x) {
#pragma omp simd
  for (int64_t j = 0; j < half; ++j) {
    const float a = x[j], b = x[j + half], s = sign * sine[j];
    x[j] = a * cosine[j] - b * s;
    x[j + half] = b * cosine[j] + a * s;
  }
}

// Llama 3.1's scaling: short wavelengths stay, long ones are stretched, those between go over smoothly.
float llama3(const Rotary& rotary, float frequency) {
  const auto factor = static_cast<float>(rotary.factor);
  const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
  if (wavelength > rotary.positions / rotary.low) return frequency / factor;
  if (wavelength < rotary.positions / rotary.high) return frequency;
  const float smooth = (static_cast<float>(rotary.positions) / wavelength - static_cast<float>(rotary.low)) /
                       static_cast<float>(rotary.high - rotary.low);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> rotary_frequencies(const Architecture& architecture) {
  const Rotary& rotary = architecture.rotary;
  std::vector<float> all;
  for (int64_t j = 0; j < architecture.head_dim / 2; ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(architecture.head_dim);
    const float frequency = 1.0f / static_cast<float>(std::pow(rotary.theta, double{exponent}));
    switch (rotary.scaling) {
      case RotaryScaling::None:
        all.push_back(frequency);
        break;
      case RotaryScaling::Linear:
        all.push_back(frequency / static_cast<float>(rotary.factor));
        break;
      case RotaryScaling::Llama3:
        all.push_back(llama3(rotary, frequency));
        break;
    }
  }
  return all;
}

RotaryTable::RotaryTable(const Architecture& architecture, std::span<const int32_t> positions)
    : half_(architecture.head_dim / 2) {
  const auto [lowest, highest] = std::minmax_element(positions.begin(), positions.end());
  first_ = *lowest;
  const int64_t count = int64_t{*highest} - first_ + 1;
  cosine_.resize(static_cast<size_t>(count * half_));
  sine_.resize(cosine_.size());
  const std::vector<float> frequencies = rotary_frequencies(architecture);
  at::parallel_for(0, count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t j = 0; j < half_; ++j) {
        const float angle = static_cast<float>(first_ + p) * frequencies[static_cast<size_t>(j)];
        const auto at = static_cast<size_t>(p * half_ + j);
        cosine_[at] = static_cast<float>(std::cos(double{angle}));
        sine_[at] = static_cast<float>(std::sin(double{angle}));
      }
    }
  });
}

void RotaryTable::turn(float* x, int64_t stride, int64_t heads, std::span<const int32_t> positions,
                       bool forwards) const {
  const auto rows = static_cast<int64_t>(positions.size());
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, heads * half_));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = (positions[static_cast<size_t>(r)] - first_) * half_;
      for (int64_t h = 0; h < heads; ++h) {
        turn_head(cosine_.data() + at, sine_.data() + at, half_, forwards ? 1.0f : -1.0f,
                  x + r * stride + 2 * h * half_);
      }
    }
  });
}

std::pair<at::Tensor, at::Tensor> RotaryTable::rows(std::span<const int32_t> positions,
                                                    const at::Device& device) const {
  const auto n = static_cast<int64_t>(positions.size());
  const at::Tensor cosine = at::empty({n, half_}, at::kFloat), sine = at::empty({n, half_}, at::kFloat);
  for (int64_t r = 0; r < n; ++r) {
    const int64_t at = (positions[static_cast<size_t>(r)] - first_) * half_;
    std::copy_n(cosine_.data() + at, half_, cosine.mutable_data_ptr<float>() + r * half_);
    std::copy_n(sine_.data() + at, half_, sine.mutable_data_ptr<float>() + r * half_);
  }
  return {upload(cosine, device), upload(sine, device)};
}

}  // namespace fltac
