// The harness of the native tests: each file is one program that counts its checks, says where one fails, and
// returns non-zero if any did.
#pragma once

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>

#include "core/error.h"

namespace fltac::test {

struct Counts {
  int64_t passed = 0;
  int64_t failed = 0;
};

inline Counts& counts() {
  static Counts all;
  return all;
}

template <typename... Parts>
void check_at(const char* file, int line, bool ok, const char* what, const Parts&... parts) {
  if (ok) {
    ++counts().passed;
    return;
  }
  ++counts().failed;
  std::cerr << file << ":" << line << ": " << what;
  ((std::cerr << ' ' << parts), ...);
  std::cerr << '\n';
}

// EXPECT(condition, values to print if it fails...)
#define EXPECT(condition, ...)                                              \
  ::fltac::test::check_at(__FILE__, __LINE__, static_cast<bool>(condition), \
                          #condition __VA_OPT__(, ) __VA_ARGS__)

// |a - b| <= tolerance; a NaN fails.
#define EXPECT_NEAR(a, b, tolerance) EXPECT(std::abs((a) - (b)) <= (tolerance), "with", (a), "and", (b))

// The error that `work` throws; none if it throws nothing, and a failed check if it throws anything else.
inline std::optional<Error> error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    EXPECT(false, "expected an fltac::Error, found", error.what());
  }
  return std::nullopt;
}

// `work` throws an Error with this code whose message holds `part`.
#define EXPECT_FAILS(error_code, part, work)                                                            \
  do {                                                                                                  \
    const auto error = ::fltac::test::error_of([&] { work; });                                          \
    EXPECT(error.has_value(), "nothing was thrown");                                                    \
    if (error) {                                                                                        \
      EXPECT(error->code() == (error_code), "found", ::fltac::code_name(error->code()), error->what()); \
      EXPECT(std::string(error->what()).find(part) != std::string::npos, "found", error->what());       \
    }                                                                                                   \
  } while (false)

// Runs `body`, prints the outcome, and returns the exit status.
inline int run(const char* name, const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    EXPECT(false, "uncaught:", error.what());
  }
  if (counts().failed > 0) {
    std::cerr << name << ": " << counts().failed << " of " << counts().passed + counts().failed
              << " checks failed\n";
    return 1;
  }
  std::cout << name << ": " << counts().passed << " checks passed\n";
  return 0;
}

// A folder of its own that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int made = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("fltac-test-" + std::to_string(::getpid()) + "-" + std::to_string(made++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::string& path, const std::string& bytes) {
  // Made anew: ext4 flushes a file that is cut to nothing and written again to disk.
  std::filesystem::remove(path);
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// The folder of shared test data that FLTAC_SHARED names; says so and gives none where it is not set or not
// there.
inline std::optional<std::filesystem::path> shared_folder() {
  const char* folder = std::getenv("FLTAC_SHARED");
  if (folder != nullptr && std::filesystem::is_directory(folder)) return folder;
  std::cout << "FLTAC_SHARED names no folder: the checks against shared data are skipped\n";
  return std::nullopt;
}

// A file of test/fixtures.
inline std::string fixture(const std::string& name) {
  return (std::filesystem::path(FLTAC_FIXTURES) / name).string();
}

}  // namespace fltac::test
