#include "train/train.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "core/error.h"
#include "model/head.h"
#include "model/transformer.h"
#include "train/deferred_losses.h"
#include "train/full_training.h"
#include "train/resident_adapters.h"

namespace fltac {
namespace {

// Updates a bank row's tensors as their gradients come in, so that no whole gradient is held in the machine's
// memory; what is resident on other devices keeps its whole gradient there.
class AdamWSink : public GradientSink {
 public:
  AdamWSink(AdapterBank& bank, ResidentAdapters& resident, const TrainOptions& options, size_t jobs)
      : bank_(bank),
        resident_(resident),
        options_(options.optimizer),
        frozen_(options.freeze_a ? a_offsets(bank.layout()) : std::set<int64_t>()),
        jobs_(static_cast<int64_t>(jobs)) {}

  // The bank row and optimiser row of each job of the coming pass, and its step number from 1.
  void begin(std::vector<size_t> members, std::vector<int64_t> bank_rows, int64_t step) {
    members_ = std::move(members);
    bank_rows_ = std::move(bank_rows);
    step_ = step;
  }

  void take(size_t job, int64_t offset, const float* gradient, int64_t n) override {
    if (frozen_.contains(offset)) return;
    if (!mean_.defined()) {
      mean_ = at::zeros({jobs_, bank_.layout().size}, at::kFloat);
      square_ = at::zeros_like(mean_);
    }
    const int64_t at = static_cast<int64_t>(members_[job]) * bank_.layout().size + offset;
    kernels::adamw(options_, step_, gradient, n, bank_.row(bank_rows_[job]) + offset,
                   mean_.mutable_data_ptr<float>() + at, square_.mutable_data_ptr<float>() + at);
  }

  // What is resident is updated at the pass's end, all tensors at once.
  void take_all(const std::vector<size_t>& jobs, const AdapterRows& adapters, int64_t offset,
                const at::Tensor& gradients) override {
    if (frozen_.contains(offset)) return;
    if (!resident_.has(offset)) return GradientSink::take_all(jobs, adapters, offset, gradients);
    resident_.keep(adapters, offset, gradients);
  }

  void end() { resident_.update(bank_rows_, options_, step_, !frozen_.empty()); }

 private:
  static std::set<int64_t> a_offsets(const AdapterLayout& layout) {
    std::set<int64_t> offsets;
    for (const std::optional<LoraSlot>& slot : layout.slots) {
      if (slot) offsets.insert(slot->a_offset);
    }
    return offsets;
  }

  AdapterBank& bank_;
  ResidentAdapters& resident_;
  const kernels::AdamW& options_;
  const std::set<int64_t> frozen_;  // offsets of tensors that are not updated
  const int64_t jobs_;              // of the cohort
  at::Tensor mean_, square_;        // [jobs, size]; undefined where all is resident
  std::vector<size_t> members_;
  std::vector<int64_t> bank_rows_;
  int64_t step_ = 0;
};

class StoreSink : public GradientSink {
 public:
  explicit StoreSink(std::vector<float>& out) : out_(out) {}
  void take(size_t, int64_t offset, const float* gradient, int64_t n) override {
    std::copy_n(gradient, n, out_.begin() + offset);
  }

 private:
  std::vector<float>& out_;
};

// Runs a batch forward and backward; returns the loss of each of its outputs, float64 on their device, before
// the sink has changed anything.
at::Tensor run_step(const AdapterBank& bank, const PackedBatch& batch, PassOptions options,
                    GradientSink& sink) {
  options.gradients = true;
  Pass pass(bank, batch, options);
  const auto head = Head::of(pass.context());
  const at::Tensor losses = head->losses(pass.forward(), nullptr);
  pass.backward(head->backward(sink), sink);
  return losses;
}

void check_job(const AdapterBank& bank, const TrainJob& job, const std::string& what) {
  const Architecture& architecture = bank.backbone().architecture();
  bank.row(job.bank_row);
  check_examples(job.examples, architecture, bank.spec().num_labels, what);
  if (job.batches.size() < 2)
    fail(ErrorCode::Shape, what, ": batches needs two or more entries, found ", job.batches.size());
  const int64_t examples = count(job.examples);
  for (size_t s = 0; s + 1 < job.batches.size(); ++s) {
    const int64_t begin = job.batches[s], end = job.batches[s + 1];
    if (begin < 0 || end <= begin || end > examples) {
      fail(ErrorCode::Shape, what, ": batch ", s, " is examples ", begin, " up to ", end, " of ", examples);
    }
    check_targets(job.examples, architecture, begin, end, what + ", batch " + std::to_string(s));
  }
}

void check_jobs(const AdapterBank& bank, std::span<const TrainJob> jobs, const TrainOptions& options) {
  if (options.cohort < 1) fail(ErrorCode::Usage, "cohort must be 1 or more, found ", options.cohort);
  std::set<int64_t> rows;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const std::string what = "training job " + std::to_string(j);
    check_job(bank, jobs[j], what);
    if (!rows.insert(jobs[j].bank_row).second) {
      fail(ErrorCode::Usage, what, ": bank row ", jobs[j].bank_row,
           " is already trained by another job of this call");
    }
  }
}

void add_step(const AdapterBank& bank, PackedBatch& batch, const TrainJob& job, int64_t step) {
  const auto s = static_cast<size_t>(step);
  batch.add_job(job.bank_row, job.stream, job.examples, job.batches[s], job.batches[s + 1],
                bank.backbone().architecture());
}

std::vector<int64_t> rows_of(std::span<const TrainJob> jobs) {
  std::vector<int64_t> rows;
  for (const TrainJob& job : jobs) rows.push_back(job.bank_row);
  return rows;
}

// The batch of one step of a cohort, and which of its jobs have such a step.
struct CohortStep {
  PackedBatch batch;
  std::vector<size_t> members;
  std::vector<int64_t> bank_rows;
};

CohortStep make_step(const AdapterBank& bank, std::span<const TrainJob> jobs, int64_t step) {
  CohortStep made;
  for (size_t j = 0; j < jobs.size(); ++j) {
    if (step >= jobs[j].steps()) continue;
    add_step(bank, made.batch, jobs[j], step);
    made.members.push_back(j);
    made.bank_rows.push_back(jobs[j].bank_row);
  }
  return made;
}

// after_step hears of a step when the next one has been handed to the device: by then its losses are there,
// so that a device never waits for this thread to read them.
void train_steps(AdapterBank& bank, ResidentAdapters& resident, std::span<const TrainJob> jobs,
                 const TrainOptions& options, std::span<std::vector<double>> losses,
                 const AfterStep& after_step, const std::function<void()>& meanwhile) {
  int64_t longest = 0;
  for (const TrainJob& job : jobs) longest = std::max(longest, job.steps());
  AdamWSink sink(bank, resident, options, jobs.size());
  DeferredLosses deferred(losses, after_step, !bank.backbone().placement().output().is_cpu());
  for (int64_t step = 0; step < longest; ++step) {
    CohortStep now = make_step(bank, jobs, step);
    sink.begin(now.members, std::move(now.bank_rows), step + 1);
    const at::Tensor of_outputs = run_step(bank, now.batch,
                                           {.dropout = options.dropout,
                                            .step = static_cast<uint32_t>(step),
                                            .adapters = &resident,
                                            .checkpointing = options.checkpointing},
                                           sink);
    sink.end();
    deferred.add(of_outputs, now.batch.outputs.jobs, std::move(now.members));
  }
  meanwhile();
  deferred.settle();
}

// The adapters of one cohort: a run of the jobs, on their devices.
struct Cohort {
  Cohort(const AdapterBank& bank, std::span<const TrainJob> all, size_t begin, size_t most)
      : first(begin),
        jobs(all.subspan(begin, std::min(most, all.size() - begin))),
        resident(bank, rows_of(jobs)) {}
  size_t first;
  std::span<const TrainJob> jobs;
  ResidentAdapters resident;
};

// Null where a device's memory, or what can be pinned of the machine's, is too little for it.
std::unique_ptr<Cohort> make_if_it_fits(const std::function<std::unique_ptr<Cohort>()>& make) {
  try {
    return make();
  } catch (const c10::OutOfMemoryError&) {
    return nullptr;
  } catch (const c10::Error& error) {
    // How CUDA says it of pinned memory.
    if (std::string(error.what_without_backtrace()).find("out of memory") == std::string::npos) throw;
    return nullptr;
  }
}

// Whatever ends it, the bank holds what was learned.
void train_cohort(AdapterBank& bank, Cohort& cohort, const TrainOptions& options,
                  std::span<std::vector<double>> losses, const AfterStep& after_step,
                  const std::function<void()>& meanwhile) {
  try {
    train_steps(bank, cohort.resident, cohort.jobs, options, losses, after_step, meanwhile);
  } catch (...) {
    cohort.resident.write_back(bank);
    throw;
  }
  cohort.resident.write_back(bank);
}

// The adapters of the next cohort go to their devices while the present one's last steps run (jobs are on
// distinct rows), or after it where a device has no room for both.
void train_cohorts(AdapterBank& bank, std::span<const TrainJob> jobs, const TrainOptions& options,
                   std::span<std::vector<double>> losses, const AfterStep& after_step) {
  const auto make = [&](size_t begin) {
    return begin < jobs.size()
               ? std::make_unique<Cohort>(bank, jobs, begin, static_cast<size_t>(options.cohort))
               : nullptr;
  };
  std::unique_ptr<Cohort> now = make(0);
  while (now) {
    const size_t first = now->first, n = now->jobs.size();
    std::unique_ptr<Cohort> next;
    train_cohort(bank, *now, options, losses.subspan(first, n), after_step,
                 [&] { next = make_if_it_fits([&] { return make(first + n); }); });
    now.reset();  // before anything else asks for its memory
    now = next ? std::move(next) : make(first + n);
  }
}

}  // namespace

std::vector<std::vector<double>> train(AdapterBank& bank, std::span<const TrainJob> jobs,
                                       const TrainOptions& options, const Control& control) {
  check_jobs(bank, jobs, options);
  int64_t total = 0, done = 0;
  for (const TrainJob& job : jobs) total += job.steps();
  std::vector<std::vector<double>> losses(jobs.size());
  control.check();
  const auto after_step = [&](int64_t steps) {
    done += steps;
    control.progress(done, total);
    if (done < total) control.check();
  };
  if (bank.spec().full) {
    for (size_t j = 0; j < jobs.size(); ++j) {
      losses[j] = train_full(bank, jobs[j], options, [&] { after_step(1); });
    }
    return losses;
  }
  train_cohorts(bank, jobs, options, losses, after_step);
  return losses;
}

Gradient gradient(const AdapterBank& bank, const TrainJob& job, bool dropout, bool checkpointing) {
  check_job(bank, job, "gradient job");
  if (bank.spec().full) return full_gradient(bank, job, dropout);
  PackedBatch batch;
  add_step(bank, batch, job, 0);
  Gradient result{0.0, std::vector<float>(static_cast<size_t>(bank.layout().size))};
  StoreSink sink(result.values);
  const at::Tensor losses = run_step(bank, batch, {.dropout = dropout, .checkpointing = checkpointing}, sink);
  result.loss = job_means(losses.to(at::kCPU), batch.outputs.jobs).front();
  return result;
}

}  // namespace fltac
