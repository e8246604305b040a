// Reads and checks the header of one safetensors file.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string_view>

#include "model/safetensors.h"

namespace fltac {

// Longest header taken, as in the reference implementation: real ones are far below, and JSON takes memory to
// parse.
constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// A data type of the format.
struct SafetensorsType {
  std::string_view name;
  uint64_t bytes;
  std::optional<at::ScalarType> scalar;  // none: can be listed but not loaded
};

// The row of this name; null if there is none.
const SafetensorsType* find_safetensors_type(std::string_view name);

struct SafetensorsHeader {
  TensorEntries entries;
  StringMap metadata;
};

// Errors: Format (naming path and offset), Unsupported (unknown data type).
SafetensorsHeader read_safetensors_header(const std::shared_ptr<const MappedFile>& file);

}  // namespace fltac
