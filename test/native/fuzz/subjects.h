// The parsers of files that come from elsewhere, each with its sound files and the ways to damage them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fuzz/draws.h"

namespace fltac::fuzz {

struct Subject {
  const char* name;
  // Writes one damaged input where `read` looks for it.
  std::function<void(Draws&)> damage;
  // Parses it to the last value. A damaged file may give a value or an fltac::Error.
  std::function<void()> read;
};

// A file of test/fixtures, wherever the program runs.
inline std::string sound_file(const std::string& name) { return std::string(FLTAC_FIXTURES "/") + name; }

// `folder` is where their files are written.
std::vector<Subject> subjects(const std::string& folder);

}  // namespace fltac::fuzz
