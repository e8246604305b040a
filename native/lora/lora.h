// The grouped LoRA product: rows of an activation belong to jobs, each job has its own adapter.
//   y = W x + (alpha / r) B A dropout(x)      Hu et al. 2021, equation 3, with PEFT's dropout on the branch's
//   input
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "lora/adapter_view.h"
#include "lora/bank.h"
#include "model/kernels.h"

namespace fltac {

// The rows [begin, end) of an activation that one job owns, and its bank row.
struct JobRows {
  int64_t bank_row;
  int64_t begin;
  int64_t end;
};

// One way of counting rows (all tokens, or one row a sequence) and who owns them.
struct RowSpace {
  std::vector<JobRows> jobs;
  std::vector<RowKey> keys;  // one per row; names its random streams
  int64_t rows() const { return static_cast<int64_t>(keys.size()); }
};

// Takes each gradient of an adapter as soon as it is complete and the pass no longer reads the values it
// belongs to.
class GradientSink {
 public:
  GradientSink() = default;
  GradientSink(const GradientSink&) = delete;
  GradientSink& operator=(const GradientSink&) = delete;
  virtual ~GradientSink() = default;
  // Values [offset, offset + n) of the adapter of job number `job` (its place in RowSpace::jobs).
  virtual void take(size_t job, int64_t offset, const float* gradient, int64_t n) = 0;
  // The same for several jobs at once, from any device: gradients [jobs, ...] of the jobs of these numbers,
  // whose adapters are `adapters`. Here one after another in the machine's memory.
  virtual void take_all(const std::vector<size_t>& jobs, const AdapterRows& adapters, int64_t offset,
                        const at::Tensor& gradients);
};

// The product of one module of the classification head, which each job has of its own.
struct HeadProduct {
  const AdapterBank& bank;
  const AdapterView& adapters;
  const RowSpace& space;
  const HeadSlot& slot;
};

struct LoraProduct {
  const AdapterBank& bank;
  const AdapterView& adapters;
  const RowSpace& space;
  const LoraSlot& slot;
  int64_t inputs;
  int64_t outputs;
  kernels::DropoutPlan plan;
};

// y += scaling * dropout(x) A^T B^T. x [rows, inputs]; y has `outputs` columns and rows y_stride apart.
// z [rows, rank] = dropout(x) A^T is kept for backward.
void lora_forward(const LoraProduct& product, const float* x, float* y, int64_t y_stride, float* z);

// Hands the gradients of A and B to the sink; adds the input's gradient to dx [rows, inputs] where dx is not
// null.
void lora_backward(const LoraProduct& product, const float* x, const float* dy, int64_t dy_stride,
                   const float* z, float* dx, GradientSink& sink);

}  // namespace fltac
