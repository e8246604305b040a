#include "train/deferred_losses.h"

#include <numeric>
#include <utility>

namespace fltac {

std::vector<double> job_means(const at::Tensor& losses, const std::vector<JobRows>& jobs) {
  const double* values = losses.const_data_ptr<double>();
  std::vector<double> means;
  for (const JobRows& job : jobs) {
    const double sum = std::accumulate(values + job.begin, values + job.end, 0.0);
    means.push_back(sum / static_cast<double>(job.end - job.begin));
  }
  return means;
}

void DeferredLosses::add(const at::Tensor& losses, std::vector<JobRows> jobs, std::vector<size_t> members) {
  std::optional<Step> before =
      std::exchange(last_, Step{Download(losses), std::move(jobs), std::move(members)});
  if (before) read(std::move(*before));
  if (!defer_) settle();
}

void DeferredLosses::settle() {
  std::optional<Step> last = std::exchange(last_, std::nullopt);
  if (last) read(std::move(*last));
}

void DeferredLosses::read(Step step) {
  const std::vector<double> means = job_means(step.losses.wait(), step.jobs);
  for (size_t m = 0; m < step.members.size(); ++m) losses_[step.members[m]].push_back(means[m]);
  after_step_(static_cast<int64_t>(step.members.size()));
}

}  // namespace fltac
