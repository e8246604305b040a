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

// How many times faster this CPU multiplies matrices of bfloat16 than of float32, as frozen weights are
// multiplied: measured once, in some hundredths of a second.
double bfloat16_speed();

// What "auto" decides by.
struct TypeFacts {
  std::string stored;                  // the files' type, as safetensors names it
  bool cuda = false;                   // whether any of the weights go to a CUDA device
  bool bfloat16_instructions = false;  // of the CPU
  double bfloat16_speed = 1.0;         // of the CPU; read only where it has the instructions
};

// Float32 files stay float32: rounding a model is its user's choice. Files of half precision keep their type
// on CUDA devices, and are bfloat16 on a CPU that has instructions for it and is no slower with them; else
// float32.
WeightType decide_weight_type(const TypeFacts& facts);

// The type for weights from `files`. `wanted` is a type's name or "auto", which asks decide_weight_type.
// `cuda`: whether any of the weights go to a CUDA device. Throws Usage for another name.
WeightType choose_weight_type(const std::string& wanted, const SafetensorsModel& files, bool cuda);

}  // namespace fltac
