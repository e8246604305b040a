// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file_descriptor.h"

namespace fltac {

// Writes to `<path>.tmp-<process id>` beside the target; commit() flushes it to disk and renames it onto the
// target. Destroyed without commit(), it leaves the target as it was and removes what it wrote. Errors of all
// calls: Io, naming the path.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  // Bytes written so far.
  uint64_t written() const { return written_; }

  void commit();

 private:
  void put(std::span<const std::byte> bytes);
  [[noreturn]] void fail_io(const char* action) const;

  std::string path_;
  std::string temporary_;
  FileDescriptor file_;
  std::vector<std::byte> buffer_;  // small writes gathered
  uint64_t written_ = 0;
  bool committed_ = false;
};

}  // namespace fltac
