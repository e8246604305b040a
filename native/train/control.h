// How a long computation talks to its caller.
#pragma once

#include <cstdint>
#include <functional>

#include "core/error.h"

namespace fltac {

// Both are called from the computing thread, between steps.
struct Control {
  std::function<void(int64_t done, int64_t total)> progress = [](int64_t, int64_t) {};
  std::function<bool()> cancelled = [] { return false; };
  // Throws Aborted when the caller asked to stop.
  void check() const {
    if (cancelled()) fail(ErrorCode::Aborted, "stopped on request");
  }
};

}  // namespace fltac
