// Rotary position embedding (Su et al. 2021) as transformers' LLaMA applies it: pair j of a head is the
// values j and j + head_dim / 2.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/architecture.h"

namespace fltac {

class RotaryTable {
 public:
  // Cosines and sines for the positions that occur. Frequencies, angles and results are rounded to float32
  // where transformers' are.
  RotaryTable(const Architecture& architecture, std::span<const int32_t> positions);

  // Turns the heads of x (`heads` blocks of head_dim columns, rows `stride` apart), row r by positions[r];
  // back where `forwards` is false.
  void turn(float* x, int64_t stride, int64_t heads, std::span<const int32_t> positions, bool forwards) const;

  // Cosines and sines of these positions on a device, each [positions, head_dim / 2].
  std::pair<at::Tensor, at::Tensor> rows(std::span<const int32_t> positions, const at::Device& device) const;

 private:
  int64_t half_;
  int32_t first_ = 0;                 // lowest position
  std::vector<float> cosine_, sine_;  // [positions from first_ on, half_]
};

// Angle per position of each pair, [head_dim / 2].
std::vector<float> rotary_frequencies(const Architecture& architecture);

}  // namespace fltac
