// The rows of many jobs as batches of matrices, so that the jobs' own products are few operations whatever
// their number.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "lora/lora.h"

namespace fltac {

// Jobs of like row counts: matrix i of [jobs, longest, n] holds the rows of job jobs[i].
struct JobGroup {
  std::vector<size_t> jobs;  // their places in RowSpace::jobs
  AdapterRows adapters;
  int64_t longest = 0;  // rows of the longest job
  int64_t first = 0;    // its first place among those of all groups

  int64_t size() const { return static_cast<int64_t>(jobs.size()); }
  // Places [all groups', n] as this group's [jobs, longest, n].
  at::Tensor of(const at::Tensor& places) const {
    return places.narrow(0, first, size() * longest).unflatten(0, {size(), longest});
  }
};

// A job joins a group only if the longest there has at most twice its rows: padding never more than doubles
// the memory of an activation, and there are at most log2 of longest to shortest groups, and one more. Jobs
// without rows are in none.
class JobGroups {
 public:
  JobGroups(const RowSpace& space, const AdapterView& adapters, const at::Device& device);

  const std::vector<JobGroup>& groups() const { return groups_; }
  // Whether the rows as they lie already are the places: one group of equal counts.
  bool in_place() const { return in_place_; }
  int64_t places() const { return places_; }

  // Rows [rows, n] to their places; padding repeats a row of its job.
  at::Tensor spread(const at::Tensor& rows) const;
  // The same with zeros as padding, for gradients that are summed over rows.
  at::Tensor spread_gradients(const at::Tensor& rows) const;
  // The reverse of both. Rows of jobs in no group do not occur: such jobs have none.
  at::Tensor gather(const at::Tensor& places) const;

 private:
  std::vector<JobGroup> groups_;
  bool in_place_ = false;
  int64_t places_ = 0;
  at::Tensor row_of_place_, place_of_row_;  // int64
  at::Tensor real_;                         // [places, 1]: 0 in the padding
};

}  // namespace fltac
