#include "model/weight_type.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "core/error.h"
#include "model/linear.h"

namespace fltac {
namespace {

// The floating type of most values: files of half precision may hold some tensors in float32.
std::string stored_type(const SafetensorsModel& files) {
  std::map<std::string, int64_t> values;
  for (const auto& [name, entry] : files.entries()) values[entry.dtype] += entry.values;
  const auto most = std::max_element(values.begin(), values.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == values.end()) return "F32";
  return most->first;
}

// Seconds of one product of a training step's size.
double product_seconds(at::ScalarType dtype) {
  constexpr int64_t kRows = 512, kSide = 1024;
  constexpr int kTries = 4;
  const at::Tensor x = at::ones({kRows, kSide}, at::kFloat), w = at::ones({kSide, kSide}, dtype);
  const Linear linear(w, {}, {Device(), dtype, true});
  double least = 1e300;
  for (int t = 0; t < kTries; ++t) {
    const auto start = std::chrono::steady_clock::now();
    linear.forward(x);
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

std::string times(double speed) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", speed);
  return text;
}

}  // namespace

std::string type_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      return "float32";
  }
}

bool cpu_has_bfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

double bfloat16_speed() {
  static const double speed = product_seconds(at::kFloat) / product_seconds(at::kBFloat16);
  return speed;
}

WeightType decide_weight_type(const TypeFacts& facts) {
  if (facts.stored != "BF16" && facts.stored != "F16") {
    return {at::kFloat, "the files are not of half precision"};
  }
  const at::ScalarType half = facts.stored == "BF16" ? at::kBFloat16 : at::kHalf;
  const std::string what = "the files are " + type_name(half);
  if (facts.cuda) return {half, what};
  if (!facts.bfloat16_instructions) return {at::kFloat, what + ", but this CPU has no bfloat16 instructions"};
  const std::string measured = "with the bfloat16 instructions that this CPU has its products took " +
                               times(1.0 / facts.bfloat16_speed) + " times as long as in float32";
  if (facts.bfloat16_speed < 1.0) return {at::kFloat, what + ", but " + measured};
  return {at::kBFloat16, what + " and " + measured};
}

WeightType choose_weight_type(const std::string& wanted, const SafetensorsModel& files, bool cuda) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    if (wanted == type_name(type)) return {type, "it was asked for"};
  }
  if (wanted != "auto") {
    fail(ErrorCode::Usage, "expected a dtype of auto, float32, bfloat16 or float16, found \"", wanted, "\"");
  }
  TypeFacts facts{stored_type(files), cuda, cpu_has_bfloat16(), 1.0};
  if (!cuda && facts.bfloat16_instructions) facts.bfloat16_speed = bfloat16_speed();
  return decide_weight_type(facts);
}

}  // namespace fltac
