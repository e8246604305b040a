#include "train/evaluate.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "core/error.h"
#include "model/head.h"
#include "model/transformer.h"
#include "train/full_training.h"
#include "train/passes.h"

namespace fltac {
namespace {

// On a CPU more rows gain nothing in the products, and fewer stay in the cache: with MiniLM on two
// threads passes of 256 to 2,048 tokens took the least time (within 4 %), of 4,096 and 8,192 7 to 9 % more;
// at bert-base's shape all took the same (docs/performance.md). Another device wants as many rows as it can
// get.
constexpr int64_t kTokensOfThread = 1024;

std::vector<Place> places_of(const Architecture& architecture, std::span<const EvaluateJob> jobs) {
  std::vector<Place> places;
  for (size_t j = 0; j < jobs.size(); ++j) {
    for (int64_t i = 0; i < count(jobs[j].examples); ++i) {
      places.push_back({j, i, token_count(jobs[j].examples, architecture, i)});
    }
  }
  return places;
}

PassRules rules_of(const AdapterBank& bank, int64_t batch_size) {
  const std::vector<Device>& devices = bank.backbone().placement().devices;
  const bool on_cpu = std::all_of(devices.begin(), devices.end(),
                                  [](const Device& device) { return device.memory.is_cpu(); });
  const int64_t most = on_cpu ? kTokensOfThread * at::get_num_threads() : std::numeric_limits<int64_t>::max();
  // A whole model is one job's own weights.
  return {batch_size, most, bank.spec().full};
}

// The examples of a pass: several of one job come one after another.
PackedBatch batch_of(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                     std::span<const Place> pass) {
  PackedBatch batch;
  std::vector<int64_t> chosen;
  for (size_t p = 0; p < pass.size(); ++p) {
    chosen.push_back(pass[p].example);
    if (p + 1 < pass.size() && pass[p + 1].job == pass[p].job) continue;
    const EvaluateJob& job = jobs[pass[p].job];
    batch.add_job(job.bank_row, 0, job.examples, chosen, bank.backbone().architecture());
    chosen.clear();
  }
  return batch;
}

std::vector<double> batch_losses(const AdapterBank& bank, const PackedBatch& batch, at::Tensor* logits) {
  if (bank.spec().full) return full_losses(bank, batch, logits);
  Pass pass(bank, batch, {});
  const at::Tensor losses = Head::of(pass.context())->losses(pass.forward(), logits).to(at::kCPU);
  const double* first = losses.const_data_ptr<double>();
  return {first, first + losses.numel()};
}

// The results of all jobs, filled pass by pass: each example's in its place.
class Results {
 public:
  // `width`: logits of a target, 0 where none are wanted.
  Results(const Architecture& architecture, std::span<const EvaluateJob> jobs, int64_t width)
      : width_(width), evaluations_(jobs.size()), first_targets_(jobs.size()) {
    for (size_t j = 0; j < jobs.size(); ++j) {
      Evaluation& evaluation = evaluations_[j];
      int64_t targets = 0;
      for (int64_t i = 0; i < count(jobs[j].examples); ++i) {
        const int64_t own = target_count(jobs[j].examples, architecture, i);
        first_targets_[j].push_back(targets);
        evaluation.example_targets.push_back(static_cast<int32_t>(own));
        targets += own;
      }
      evaluation.example_losses.resize(evaluation.example_targets.size());
      evaluation.logits.resize(static_cast<size_t>(targets * width));
    }
  }

  // The losses and logits [targets, width] of a pass's targets.
  void take(std::span<const Place> pass, std::span<const double> losses, const at::Tensor& logits) {
    size_t first = 0;
    for (const Place& place : pass) {
      Evaluation& evaluation = evaluations_[place.job];
      const auto example = static_cast<size_t>(place.example);
      const auto targets = static_cast<size_t>(evaluation.example_targets[example]);
      const auto own = losses.subspan(first, targets);
      evaluation.example_losses[example] = std::accumulate(own.begin(), own.end(), 0.0);
      if (width_ > 0) {
        std::copy_n(logits.const_data_ptr<float>() + static_cast<int64_t>(first) * width_,
                    static_cast<int64_t>(targets) * width_,
                    evaluation.logits.begin() + first_targets_[place.job][example] * width_);
      }
      first += targets;
    }
  }

  std::vector<Evaluation> finish() {
    for (Evaluation& evaluation : evaluations_) evaluation.loss = mean_loss(evaluation);
    return std::move(evaluations_);
  }

 private:
  static double mean_loss(const Evaluation& evaluation) {
    const auto& losses = evaluation.example_losses;
    const auto& targets = evaluation.example_targets;
    if (losses.empty()) return 0.0;
    const auto total = std::accumulate(targets.begin(), targets.end(), int64_t{0});
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(total);
  }

  const int64_t width_;
  std::vector<Evaluation> evaluations_;
  std::vector<std::vector<int64_t>> first_targets_;  // of each job's examples, in the job's targets
};

void check_jobs(const AdapterBank& bank, std::span<const EvaluateJob> jobs) {
  const Architecture& architecture = bank.backbone().architecture();
  for (size_t j = 0; j < jobs.size(); ++j) {
    const std::string what = "evaluation job " + std::to_string(j);
    bank.row(jobs[j].bank_row);
    check_examples(jobs[j].examples, architecture, bank.spec().num_labels, what);
    const int64_t n = count(jobs[j].examples);
    if (n > 0) check_targets(jobs[j].examples, architecture, 0, n, what);
  }
}

}  // namespace

std::vector<Evaluation> evaluate(const AdapterBank& bank, std::span<const EvaluateJob> jobs,
                                 const EvaluateOptions& options, const Control& control) {
  if (options.batch_size < 1)
    fail(ErrorCode::Usage, "batchSize must be 1 or more, found ", options.batch_size);
  check_jobs(bank, jobs);
  const Architecture& architecture = bank.backbone().architecture();
  const bool classes = architecture.family->output == Output::Classes;
  const int64_t width = classes ? bank.spec().num_labels : options.target_logits ? architecture.vocab : 0;
  Results results(architecture, jobs, width);
  std::vector<Place> places = places_of(architecture, jobs);
  const auto total = static_cast<int64_t>(places.size());
  int64_t done = 0;
  for (const std::vector<Place>& pass : plan_passes(std::move(places), rules_of(bank, options.batch_size))) {
    control.check();
    const PackedBatch batch = batch_of(bank, jobs, pass);
    if (batch.output_count() > 0) {
      at::Tensor logits;
      const std::vector<double> losses = batch_losses(bank, batch, width > 0 ? &logits : nullptr);
      results.take(pass, losses, logits);
    }
    done += static_cast<int64_t>(pass.size());
    control.progress(done, total);
  }
  return results.finish();
}

}  // namespace fltac
