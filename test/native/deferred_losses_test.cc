// Losses that are read late come in the order of the steps, and at the jobs that had them.
#include "train/deferred_losses.h"

#include <cmath>
#include <limits>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

at::Tensor losses_of(std::vector<double> values) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble).clone();
}

struct Steps {
  explicit Steps(bool defer) : deferred(losses, [this](int64_t steps) { heard.push_back(steps); }, defer) {}
  std::vector<std::vector<double>> losses{3};
  std::vector<int64_t> heard;
  DeferredLosses deferred;
};

// Three jobs with two, one and two outputs; the second ends after the first step.
void add_first(Steps& steps) {
  steps.deferred.add(losses_of({1, 3, 5, 7, 9}), {{0, 0, 2}, {1, 2, 3}, {2, 3, 5}}, {0, 1, 2});
}
void add_second(Steps& steps) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  steps.deferred.add(losses_of({2, 4, 6, nan}), {{0, 0, 2}, {2, 2, 4}}, {0, 2});
}

void a_step_is_read_when_the_next_is_there() {
  Steps steps(true);
  add_first(steps);
  EXPECT(steps.heard.empty() && steps.losses[0].empty());
  add_second(steps);
  EXPECT(steps.heard == std::vector<int64_t>{3});
  EXPECT(steps.losses[0] == std::vector<double>{2});
  steps.deferred.settle();
  EXPECT((steps.heard == std::vector<int64_t>{3, 2}));
  steps.deferred.settle();
  EXPECT(steps.heard.size() == 2);
}

void losses_keep_their_job_and_step(bool defer) {
  Steps steps(defer);
  add_first(steps);
  add_second(steps);
  steps.deferred.settle();
  EXPECT((steps.losses[0] == std::vector<double>{2, 3}));
  EXPECT((steps.losses[1] == std::vector<double>{5}));
  EXPECT(steps.losses[2].size() == 2 && steps.losses[2][0] == 8 && std::isnan(steps.losses[2][1]));
}

void without_deferring_a_step_is_read_at_once() {
  Steps steps(false);
  add_first(steps);
  EXPECT(steps.heard == std::vector<int64_t>{3});
  EXPECT(steps.losses[1] == std::vector<double>{5});
}

}  // namespace

int main() {
  return run("deferred_losses_test", [] {
    a_step_is_read_when_the_next_is_there();
    losses_keep_their_job_and_step(true);
    losses_keep_their_job_and_step(false);
    without_deferring_a_step_is_read_at_once();
  });
}
