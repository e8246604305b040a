// Evaluating many adapters on one frozen backbone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lora/bank.h"
#include "model/examples.h"
#include "train/control.h"

namespace fltac {

// The C++ side of EvaluateJob (src/engine/types.ts).
struct EvaluateJob {
  int64_t bank_row = 0;
  Examples examples;
};

struct EvaluateOptions {
  int64_t batch_size = 64;     // most examples at a time
  bool target_logits = false;  // those of next-token models too
};

struct Evaluation {
  // [examples, num_labels]; for next-token models [targets, vocab] where asked for, else empty
  std::vector<float> logits;
  double loss = 0;                     // mean cross-entropy over all targets; 0 where there is no example
  std::vector<double> example_losses;  // summed over an example's targets
  std::vector<int32_t> example_targets;
};

// Evaluates without dropout. Throws Shape for examples that do not fit, or a job without any target.
std::vector<Evaluation> evaluate(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                                 const EvaluateOptions& options, const Control& control);

}  // namespace fltac
