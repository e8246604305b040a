#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/atomic_file.h"

namespace fltac {

// Writes a ZIP file of stored entries, each aligned to 64 bytes as PyTorch does it, dated 1980-01-01: equal
// content gives equal bytes. The file appears at finish(), whole, or not at all. Errors: Io.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : file_(path) {}

  void add(const std::string& name, std::span<const std::byte> content);
  void finish();

 private:
  struct Entry {
    std::string name;
    uint32_t crc;
    uint64_t size;
    uint64_t offset;  // of the local header
  };

  AtomicFile file_;
  std::vector<Entry> entries_;
};

}  // namespace fltac
