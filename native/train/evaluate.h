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
  int64_t batch_size = 64;     // a pass has at most the tokens of so many of the longest example
  bool target_logits = false;  // those of next-token models too
};

struct Evaluation {
  // [examples, num_labels]; for next-token models [targets, vocab] where asked for, else empty
  std::vector<float> logits;
  double loss = 0;                     // mean cross-entropy over all targets; 0 where there is no example
  std::vector<double> example_losses;  // summed over an example's targets
  std::vector<int32_t> example_targets;
};

// Evaluates without dropout; results are in the order of each job's examples. Examples of all jobs are taken
// by length, several jobs' side by side in a pass (train/passes.h): a job's numbers are those of the job
// alone, but for the rounding of sums over another number of rows: on a CPU a pass has as many as the threads
// allow, so that the last digits depend on their number, too. Whole models (AdapterSpec::full) are
// evaluated one after another. Memory beside the results: the activations of one layer for a pass's tokens.
// Throws Shape for examples that do not fit, or a job without any target.
std::vector<Evaluation> evaluate(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                                 const EvaluateOptions& options, const Control& control);

}  // namespace fltac
