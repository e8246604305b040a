// Training and evaluating whole models, the rows of a bank whose spec is full: one after another.
#pragma once

#include <functional>
#include <vector>

#include "model/batch.h"
#include "train/train.h"

namespace fltac {

// Trains the job's row in place, as train() does; `after_step` may throw to stop. Memory besides the bank:
// gradient, mean and square of each value, and the activations of a batch; on another device than the CPU
// also the model itself. Throws Unsupported for a backbone on several devices.
std::vector<double> train_full(AdapterBank& bank, const TrainJob& job, const TrainOptions& options,
                               const std::function<void()>& after_step);

// The loss and gradient of a job's first step, as gradient().
Gradient full_gradient(const AdapterBank& bank, const TrainJob& job, bool dropout);

// The cross-entropy of each output of a batch of one job, without dropout; where `logits` is not null it gets
// those of all outputs on the CPU, [outputs, classes or vocab].
std::vector<double> full_losses(const AdapterBank& bank, const PackedBatch& batch, at::Tensor* logits);

}  // namespace fltac
