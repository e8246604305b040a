// Training many adapters on one frozen backbone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lora/bank.h"
#include "model/examples.h"
#include "model/kernels.h"
#include "train/control.h"

namespace fltac {

// The C++ side of TrainJob (src/engine/types.ts).
struct TrainJob {
  int64_t bank_row = 0;
  Examples examples;
  std::span<const int32_t> batches;  // step s uses examples [batches[s], batches[s + 1])
  uint64_t stream = 0;

  int64_t steps() const { return static_cast<int64_t>(batches.size()) - 1; }
};

struct TrainOptions {
  kernels::AdamW optimizer;
  bool dropout = true;
  bool checkpointing = false;  // PassOptions::checkpointing
  bool freeze_a = false;       // LoRA's A stays as it is, without weight decay too
  int64_t cohort = 1;          // most jobs in one pass
};

// Trains each job's bank row in place, with an optimiser state of its own that starts at zero; returns for
// each job the mean cross-entropy over the targets of each step's batch before its update. Throws Shape for
// a batch without any target. Jobs of one cohort share every product with a frozen weight; their losses are
// summed, so each adapter's gradient is its own. Jobs must be on distinct rows. Memory for each row of the
// running cohort: mean and square, on the CPU the gradient of one tensor at a time; on other devices also the
// parameters, a whole gradient and, in the last step, the next cohort's parameters where they fit. Whole
// models (AdapterSpec::full) are trained one after another, without checkpointing and whatever freeze_a says.
std::vector<std::vector<double>> train(AdapterBank& bank, std::span<const TrainJob> jobs,
                                       const TrainOptions& options, const Control& control);

struct Gradient {
  double loss;
  std::vector<float> values;  // as the flat adapter
};

// The loss and gradient of a job's first step, with no update: what the first call of train would see.
Gradient gradient(const AdapterBank& bank, const TrainJob& job, bool dropout, bool checkpointing);

}  // namespace fltac
