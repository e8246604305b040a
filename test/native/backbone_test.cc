// Loading part by part: progress, stopping, and what is refused before any weight is read.
#include "model/backbone.h"

#include <vector>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

void progress_is_told_part_by_part() {
  std::vector<int64_t> seen;
  Control control;
  control.progress = [&](int64_t done, int64_t total) {
    EXPECT(total == 4);
    seen.push_back(done);
  };
  const auto backbone = Backbone::load(fixture("small-bert"), {}, control);
  EXPECT(seen == (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT(backbone->part_bytes().size() == 4);
  EXPECT(backbone->placement().devices.size() == 4);
}

void a_load_stops_between_parts() {
  for (const int64_t parts : {0, 1, 3}) {
    int64_t loaded = 0;
    Control control;
    control.progress = [&](int64_t done, int64_t) { loaded = done; };
    control.cancelled = [&] { return loaded == parts; };
    EXPECT_FAILS(ErrorCode::Aborted, "stopped", Backbone::load(fixture("small-bert"), {}, control));
    EXPECT(loaded == parts);
  }
}

void bad_options_are_refused_before_weights_are_read() {
  Control control;
  control.progress = [](int64_t, int64_t) { EXPECT(false, "a part was loaded"); };
  const auto load = [&](const LoadOptions& options) {
    return Backbone::load(fixture("small-bert"), options, control);
  };
  EXPECT_FAILS(ErrorCode::Usage, "a device for each of 4 parts, found 2", load({{"cpu", "cpu"}, "auto"}));
  EXPECT_FAILS(ErrorCode::Usage, "found \"gpu\"", load({{"cpu", "cpu", "cpu", "gpu"}, "auto"}));
  EXPECT_FAILS(ErrorCode::Unsupported, "cuda:63 does not exist",
               load({{"cpu", "cuda:63", "cpu", "cpu"}, "auto"}));
  EXPECT_FAILS(ErrorCode::Usage, "found \"float8\"", load({{}, "float8"}));
}

}  // namespace

int main() {
  return run("backbone_test", [] {
    progress_is_told_part_by_part();
    a_load_stops_between_parts();
    bad_options_are_refused_before_weights_are_read();
  });
}
