#include "train/evaluate.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/error.h"
#include "model/head.h"
#include "model/transformer.h"
#include "train/full_training.h"

namespace fltac {
namespace {

std::vector<double> batch_losses(const AdapterBank& bank, const PackedBatch& batch, at::Tensor* logits) {
  if (bank.spec().full) return full_losses(bank, batch, logits);
  Pass pass(bank, batch, {});
  return Head::of(pass.context())->losses(pass.forward(), logits);
}

// Adds the results of examples [begin, end) of a job.
void evaluate_batch(const AdapterBank& bank, const EvaluateJob& job, int64_t begin, int64_t end,
                    bool with_logits, Evaluation& result) {
  PackedBatch batch;
  batch.add_job(job.bank_row, 0, job.examples, begin, end, bank.backbone().architecture());
  std::vector<double> losses;
  if (batch.output_count() > 0) {
    at::Tensor logits;
    losses = batch_losses(bank, batch, with_logits ? &logits : nullptr);
    if (with_logits) {
      const float* values = logits.const_data_ptr<float>();
      result.logits.insert(result.logits.end(), values, values + logits.numel());
    }
  }
  for (size_t s = 0; s < static_cast<size_t>(end - begin); ++s) {
    const int64_t from = batch.output_offsets[s], to = batch.output_offsets[s + 1];
    result.example_losses.push_back(std::accumulate(losses.begin() + from, losses.begin() + to, 0.0));
    result.example_targets.push_back(static_cast<int32_t>(to - from));
  }
}

double mean_loss(const Evaluation& result) {
  if (result.example_losses.empty()) return 0.0;
  const double sum = std::accumulate(result.example_losses.begin(), result.example_losses.end(), 0.0);
  const auto targets =
      std::accumulate(result.example_targets.begin(), result.example_targets.end(), int64_t{0});
  return sum / static_cast<double>(targets);
}

int64_t check_jobs(const AdapterBank& bank, std::span<const EvaluateJob> jobs) {
  const Architecture& architecture = bank.backbone().architecture();
  int64_t total = 0;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const std::string what = "evaluation job " + std::to_string(j);
    bank.row(jobs[j].bank_row);
    check_examples(jobs[j].examples, architecture, bank.spec().num_labels, what);
    const int64_t n = count(jobs[j].examples);
    if (n > 0) check_targets(jobs[j].examples, architecture, 0, n, what);
    total += n;
  }
  return total;
}

}  // namespace

std::vector<Evaluation> evaluate(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                                 const EvaluateOptions& options, const Control& control) {
  if (options.batch_size < 1)
    fail(ErrorCode::Usage, "batchSize must be 1 or more, found ", options.batch_size);
  const int64_t total = check_jobs(bank, jobs);
  const bool with_logits =
      options.target_logits || bank.backbone().architecture().family->output == Output::Classes;
  int64_t done = 0;
  std::vector<Evaluation> results;
  for (const EvaluateJob& job : jobs) {
    Evaluation result;
    const int64_t n = count(job.examples);
    for (int64_t begin = 0; begin < n; begin += options.batch_size) {
      control.check();
      const int64_t end = std::min(n, begin + options.batch_size);
      evaluate_batch(bank, job, begin, end, with_logits, result);
      done += end - begin;
      control.progress(done, total);
    }
    result.loss = mean_loss(result);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace fltac
