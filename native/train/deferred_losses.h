// Losses of training steps that are read one step late, so that a device has its next step before anyone
// waits for what came of the last.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/transfer.h"
#include "lora/lora.h"

namespace fltac {

// The mean of each job's losses, float64 [outputs] in the machine's memory.
std::vector<double> job_means(const at::Tensor& losses, const std::vector<JobRows>& jobs);

// Called with the optimiser steps that a pass did.
using AfterStep = std::function<void(int64_t steps)>;

class DeferredLosses {
 public:
  // Each step's mean losses are appended to losses[member], in the order of the steps; after_step is called
  // when a step's are there, and may throw. With `defer` off, which is for losses that are in the machine's
  // memory when a pass ends, that is at once.
  DeferredLosses(std::span<std::vector<double>> losses, AfterStep after_step, bool defer)
      : losses_(losses), after_step_(std::move(after_step)), defer_(defer) {}

  // The losses [outputs] of a step on their device, the jobs whose outputs they are, and those jobs' places
  // in `losses`. Where they are deferred it waits for the step before.
  void add(const at::Tensor& losses, std::vector<JobRows> jobs, std::vector<size_t> members);
  // Waits for the last step.
  void settle();

 private:
  struct Step {
    Download losses;
    std::vector<JobRows> jobs;
    std::vector<size_t> members;
  };
  void read(Step step);

  std::span<std::vector<double>> losses_;
  AfterStep after_step_;
  bool defer_;
  std::optional<Step> last_;
};

}  // namespace fltac
