#include "lora/job_groups.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/transfer.h"

namespace fltac {
namespace {

constexpr int64_t kMostPadding = 2;  // longest to shortest job of a group

int64_t rows_of(const JobRows& job) { return job.end - job.begin; }

// The jobs with rows, in groups. In the order of the batch where one group has all: their adapters then lie
// as one run where the adapters of a cohort are kept.
std::vector<JobGroup> group(const RowSpace& space) {
  std::vector<size_t> order;
  for (size_t j = 0; j < space.jobs.size(); ++j) {
    if (rows_of(space.jobs[j]) > 0) order.push_back(j);
  }
  const auto rows = [&](size_t j) { return rows_of(space.jobs[j]); };
  const auto [shortest, longest] =
      std::minmax_element(order.begin(), order.end(), [&](size_t a, size_t b) { return rows(a) < rows(b); });
  if (order.empty()) return {};
  const int64_t most = rows(*longest);
  if (most <= kMostPadding * rows(*shortest)) return {{std::move(order), {}, most, 0}};
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows(a) > rows(b); });
  std::vector<JobGroup> groups;
  for (const size_t j : order) {
    if (groups.empty() || groups.back().longest > kMostPadding * rows(j))
      groups.push_back({{}, {}, rows(j), 0});
    groups.back().jobs.push_back(j);
  }
  return groups;
}

}  // namespace

JobGroups::JobGroups(const RowSpace& space, const AdapterView& adapters, const at::Device& device)
    : groups_(group(space)) {
  for (JobGroup& g : groups_) {
    g.first = std::exchange(places_, places_ + g.size() * g.longest);
    std::vector<int64_t> bank_rows;
    for (const size_t j : g.jobs) bank_rows.push_back(space.jobs[j].bank_row);
    g.adapters = adapters.locate(std::move(bank_rows), device);
  }
  in_place_ = groups_.size() <= 1 && places_ == space.rows();
  if (in_place_) return;
  std::vector<int64_t> row_of_place, real, place_of_row(static_cast<size_t>(space.rows()));
  for (const JobGroup& g : groups_) {
    for (const size_t j : g.jobs) {
      const JobRows& job = space.jobs[j];
      for (int64_t r = job.begin; r < job.begin + g.longest; ++r) {
        const bool is_real = r < job.end;
        if (is_real) place_of_row[static_cast<size_t>(r)] = static_cast<int64_t>(row_of_place.size());
        row_of_place.push_back(is_real ? r : job.end - 1);
        real.push_back(is_real ? 1 : 0);
      }
    }
  }
  const std::vector<at::Tensor> lists = upload_lists({row_of_place, place_of_row, real}, device);
  row_of_place_ = lists[0];
  place_of_row_ = lists[1];
  real_ = lists[2].to(at::kFloat).unsqueeze(1);
}

at::Tensor JobGroups::spread(const at::Tensor& rows) const {
  return in_place_ ? rows : rows.index_select(0, row_of_place_);
}

at::Tensor JobGroups::spread_gradients(const at::Tensor& rows) const {
  return in_place_ ? rows : rows.index_select(0, row_of_place_).mul_(real_);
}

at::Tensor JobGroups::gather(const at::Tensor& places) const {
  return in_place_ ? places : places.index_select(0, place_of_row_);
}

}  // namespace fltac
