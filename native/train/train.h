// Training and evaluating many adapters on one frozen backbone.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "lora/bank.h"
#include "model/batch.h"
#include "model/kernels.h"

namespace fltac {

// How a long computation talks to its caller. Both are called from the computing thread, between steps.
struct Control {
  std::function<void(int64_t done, int64_t total)> progress = [](int64_t, int64_t) {};
  std::function<bool()> cancelled = [] { return false; };
  // Throws Aborted when the caller asked to stop.
  void check() const;
};

// The C++ side of TrainJob (src/engine/types.ts).
struct TrainJob {
  int64_t bank_row = 0;
  Sequences sequences;
  std::span<const int32_t> batches;  // step s uses sequences [batches[s], batches[s + 1])
  uint64_t stream = 0;

  int64_t steps() const { return static_cast<int64_t>(batches.size()) - 1; }
};

struct TrainOptions {
  kernels::AdamW optimizer;
  bool dropout = true;
  int64_t cohort = 1;  // most jobs in one pass
};

// Trains each job's bank row in place, with an optimiser state of its own that starts at zero; returns for
// each job the mean cross-entropy of each step's batch before its update. Jobs of one cohort share every
// product with a frozen weight; their losses are summed, so each adapter's gradient is its own. Jobs must be
// on distinct rows. Memory: parameter, mean and square for each row of the running cohort; gradients live one
// tensor at a time.
std::vector<std::vector<double>> train(AdapterBank& bank, std::span<const TrainJob> jobs,
                                       const TrainOptions& options, const Control& control);

struct Gradient {
  double loss;
  std::vector<float> values;  // as the flat adapter
};

// The loss and gradient of a job's first step, with no update: what the first call of train would see.
Gradient gradient(const AdapterBank& bank, const TrainJob& job, bool dropout);

struct EvaluateJob {
  int64_t bank_row = 0;
  Sequences sequences;
};

struct Evaluation {
  std::vector<float> logits;  // [sequences, num_labels]
  double loss = 0;            // mean cross-entropy
};

// Evaluates without dropout, at most batch_size sequences at a time.
std::vector<Evaluation> evaluate(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                                 int64_t batch_size, const Control& control);

}  // namespace fltac
