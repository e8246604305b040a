// How the examples that are evaluated are shared out over passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fltac {

// One example of a job, and the tokens that it takes in a pass.
struct Place {
  size_t job;
  int64_t example;
  int64_t tokens;
};

struct PassRules {
  int64_t batch_size;   // a pass has at most the tokens of so many of the longest example
  int64_t most_tokens;  // and at most so many, but for an example that alone has more
  bool one_job;         // and examples of one job only
};

// The places of each pass. Examples of all jobs are taken in the order of their length, those of one length
// by job and place, so that a pass has sequences of like length; with one_job they are taken job by job.
// Within a pass they lie by job. The order of `places` does not matter.
std::vector<std::vector<Place>> plan_passes(std::vector<Place> places, const PassRules& rules);

}  // namespace fltac
