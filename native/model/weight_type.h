// The number type that frozen weights are held in.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "model/safetensors.h"

namespace fltac {

struct WeightType {
  at::ScalarType dtype = at::kFloat;
  std::string reason;  // completes "float32, because"

  int64_t value_bytes() const { return static_cast<int64_t>(c10::elementSize(dtype)); }
};

// "float32", "bfloat16" or "float16"
std::string type_name(at::ScalarType dtype);

// Whether this CPU has instructions for products of bfloat16 (AVX512_BF16; AMX comes with it).
bool cpu_has_bfloat16();

// The type for weights from `files`. `wanted` is a type's name or "auto": on CUDA devices that of the files
// where it is of half precision; on the CPU bfloat16 where the files are of half precision and the CPU has
// instructions for it; else float32. `cuda`: whether any of the weights go to a CUDA device. Throws Usage for
// another name.
WeightType choose_weight_type(const std::string& wanted, const SafetensorsModel& files, bool cuda);

}  // namespace fltac
