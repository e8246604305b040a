#include "train/full_training.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "core/error.h"
#include "model/full_pass.h"
#include "train/adamw.h"

namespace fltac {
namespace {

// Values that one thread updates at a time.
constexpr int64_t kUpdateGrain = int64_t{1} << 16;

const Device& device_of(const Backbone& backbone) {
  const std::vector<Device>& devices = backbone.placement().devices;
  const Device& first = devices.front();
  if (std::any_of(devices.begin(), devices.end(), [&](const Device& device) { return !(device == first); })) {
    fail(ErrorCode::Unsupported, "full fine-tuning needs the whole model on one device, found parts on ",
         first.name, " and others: set device to one of them");
  }
  return first;
}

// A bank's row as one vector on its model's device: on the CPU the row's own memory, else a copy.
at::Tensor row_of(const AdapterBank& bank, int64_t index) {
  const at::Tensor row = at::from_blob(const_cast<float*>(bank.row(index)), {bank.layout().size}, at::kFloat);
  return row.to(device_of(bank.backbone()).memory);
}

PackedBatch batch_of(const AdapterBank& bank, const TrainJob& job, int64_t step) {
  PackedBatch batch;
  const auto s = static_cast<size_t>(step);
  batch.add_job(job.bank_row, job.stream, job.examples, job.batches[s], job.batches[s + 1],
                bank.backbone().architecture());
  return batch;
}

at::Tensor targets_of(const PackedBatch& batch, const at::Device& device) {
  return at::from_blob(const_cast<int32_t*>(batch.targets.data()), {batch.output_count()}, at::kInt)
      .to(device, at::kLong);
}

struct Step {
  double loss;
  std::vector<at::Tensor> gradients;  // in the layout's order; undefined where the loss does not reach
};

Step run_step(const AdapterBank& bank, const PackedBatch& batch, const at::Tensor& flat,
              const PassOptions& options) {
  const PassContext context(bank, batch, options);
  const FullWeights weights(bank.layout(), flat, /*trained=*/true);
  const at::Tensor loss =
      at::cross_entropy_loss(FullPass(context, weights).logits(), targets_of(batch, flat.device()));
  std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, weights.tensors(), /*grad_outputs=*/{},
                                                            /*retain_graph=*/false, /*create_graph=*/false,
                                                            /*allow_unused=*/true);
  return {loss.item<double>(), std::move(gradients)};
}

// AdamW over a whole model.
class Optimizer {
 public:
  Optimizer(const AdapterLayout& layout, const kernels::AdamW& options, const at::Tensor& flat, bool kernel)
      : layout_(layout),
        options_(options),
        flat_(flat),
        kernel_(kernel),
        mean_(at::zeros_like(flat)),
        square_(at::zeros_like(flat)) {}

  // As torch.optim.AdamW a tensor without a gradient is left alone.
  void step(int64_t number, const std::vector<at::Tensor>& gradients) {
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (gradients[i].defined()) update(number, layout_.tensors[i].offset, gradients[i].reshape({-1}));
    }
  }

 private:
  void update(int64_t number, int64_t offset, const at::Tensor& gradient) {
    const int64_t n = gradient.numel();
    if (!kernel_) {
      adamw(options_, number, gradient, flat_.narrow(0, offset, n), mean_.narrow(0, offset, n),
            square_.narrow(0, offset, n));
      return;
    }
    const float* values = gradient.const_data_ptr<float>();
    float* parameters = flat_.mutable_data_ptr<float>() + offset;
    float* mean = mean_.mutable_data_ptr<float>() + offset;
    float* square = square_.mutable_data_ptr<float>() + offset;
    at::parallel_for(0, n, kUpdateGrain, [&](int64_t begin, int64_t end) {
      kernels::adamw(options_, number, values + begin, end - begin, parameters + begin, mean + begin,
                     square + begin);
    });
  }

  const AdapterLayout& layout_;
  const kernels::AdamW& options_;
  at::Tensor flat_;
  bool kernel_;  // the CPU's, which reads the memory itself
  at::Tensor mean_, square_;
};

// Copies a row that was trained on another device back.
void write_back(AdapterBank& bank, int64_t index, const at::Tensor& flat) {
  const at::Tensor host = flat.to(at::kCPU);
  float* row = bank.row(index);
  if (host.const_data_ptr<float>() != row) std::copy_n(host.const_data_ptr<float>(), host.numel(), row);
}

}  // namespace

std::vector<double> train_full(AdapterBank& bank, const TrainJob& job, const TrainOptions& options,
                               const std::function<void()>& after_step) {
  // The compute thread is in inference mode, where autograd follows nothing.
  const c10::InferenceMode autograd(false);
  const at::Tensor flat = row_of(bank, job.bank_row);
  Optimizer optimizer(bank.layout(), options.optimizer, flat, device_of(bank.backbone()).is_cpu());
  std::vector<double> losses;
  try {
    for (int64_t number = 0; number < job.steps(); ++number) {
      const PackedBatch batch = batch_of(bank, job, number);
      const Step step =
          run_step(bank, batch, flat, {.dropout = options.dropout, .step = static_cast<uint32_t>(number)});
      losses.push_back(step.loss);
      optimizer.step(number + 1, step.gradients);
      after_step();
    }
  } catch (...) {
    write_back(bank, job.bank_row, flat);
    throw;
  }
  write_back(bank, job.bank_row, flat);
  return losses;
}

Gradient full_gradient(const AdapterBank& bank, const TrainJob& job, bool dropout) {
  const c10::InferenceMode autograd(false);
  const AdapterLayout& layout = bank.layout();
  const PackedBatch batch = batch_of(bank, job, 0);
  const Step step = run_step(bank, batch, row_of(bank, job.bank_row), {.dropout = dropout});
  Gradient result{step.loss, std::vector<float>(static_cast<size_t>(layout.size))};
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    if (!step.gradients[i].defined()) continue;
    const at::Tensor host = step.gradients[i].to(at::kCPU).contiguous();
    std::copy_n(host.const_data_ptr<float>(), host.numel(), result.values.begin() + layout.tensors[i].offset);
  }
  return result;
}

std::vector<double> full_losses(const AdapterBank& bank, const PackedBatch& batch, at::Tensor* logits) {
  const at::Tensor flat = row_of(bank, batch.outputs.jobs.front().bank_row);
  const PassContext context(bank, batch, {});
  const FullWeights weights(bank.layout(), flat, /*trained=*/false);
  const at::Tensor values = FullPass(context, weights).logits();
  const at::Tensor losses =
      at::cross_entropy_loss(values, targets_of(batch, flat.device()), {}, at::Reduction::None)
          .to(at::kCPU, at::kDouble)
          .contiguous();
  if (logits) *logits = values.to(at::kCPU).contiguous();
  const double* first = losses.const_data_ptr<double>();
  return {first, first + losses.numel()};
}

}  // namespace fltac
