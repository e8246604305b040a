#include "model/weight_type.h"

#include <algorithm>
#include <map>

#include "core/error.h"

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

WeightType choose_weight_type(const std::string& wanted, const SafetensorsModel& files, bool cuda) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    if (wanted == type_name(type)) return {type, "it was asked for"};
  }
  if (wanted != "auto") {
    fail(ErrorCode::Usage, "expected a dtype of auto, float32, bfloat16 or float16, found \"", wanted, "\"");
  }
  const std::string stored = stored_type(files);
  if (stored != "BF16" && stored != "F16") return {at::kFloat, "the files are not of half precision"};
  const at::ScalarType half = stored == "BF16" ? at::kBFloat16 : at::kHalf;
  const std::string what = "the files are " + type_name(half);
  if (cuda) return {half, what};
  if (cpu_has_bfloat16()) return {at::kBFloat16, what + " and this CPU has bfloat16 instructions"};
  return {at::kFloat, what + ", but this CPU has no bfloat16 instructions"};
}

}  // namespace fltac
