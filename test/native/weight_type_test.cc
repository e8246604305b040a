// What type "auto" chooses for frozen weights, and why.
#include "model/weight_type.h"

#include <cmath>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

struct Case {
  TypeFacts facts;
  at::ScalarType dtype;
  const char* reason;
};

void auto_is_decided_by_files_device_and_measurement() {
  const Case cases[] = {
      {{"F32", false, false, 1.0}, at::kFloat, "the files are not of half precision"},
      // Rounding a model is never a matter of speed.
      {{"F32", false, true, 8.0}, at::kFloat, "the files are not of half precision"},
      {{"F32", true, true, 8.0}, at::kFloat, "the files are not of half precision"},
      {{"BF16", true, false, 1.0}, at::kBFloat16, "the files are bfloat16"},
      {{"F16", true, true, 8.0}, at::kHalf, "the files are float16"},
      {{"BF16", false, false, 8.0},
       at::kFloat,
       "the files are bfloat16, but this CPU has no bfloat16 instructions"},
      {{"F16", false, false, 1.0},
       at::kFloat,
       "the files are float16, but this CPU has no bfloat16 instructions"},
      {{"BF16", false, true, 2.0},
       at::kBFloat16,
       "the files are bfloat16 and with the bfloat16 instructions that this CPU has its products took 0.5 "
       "times as "
       "long as in float32"},
      {{"F16", false, true, 1.0},
       at::kBFloat16,
       "the files are float16 and with the bfloat16 instructions that this CPU has its products took 1.0 "
       "times as "
       "long as in float32"},
      {{"BF16", false, true, 0.8},
       at::kFloat,
       "the files are bfloat16, but with the bfloat16 instructions that this CPU has its products took 1.2 "
       "times as "
       "long as in float32"},
  };
  for (const auto& [facts, dtype, reason] : cases) {
    const WeightType found = decide_weight_type(facts);
    EXPECT(found.dtype == dtype, facts.stored, "cuda", facts.cuda, "speed", facts.bfloat16_speed);
    EXPECT(found.reason == reason, "found", found.reason);
  }
}

void the_probe_measures() {
  const double speed = bfloat16_speed();
  EXPECT(std::isfinite(speed) && speed > 0.0, "found", speed);
  EXPECT(bfloat16_speed() == speed);
}

}  // namespace

int main() {
  return run("weight_type_test", [] {
    auto_is_decided_by_files_device_and_measurement();
    the_probe_measures();
  });
}
