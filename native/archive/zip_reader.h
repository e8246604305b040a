#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/mapped_file.h"

namespace fltac {

// Reads a ZIP file of stored entries, as torch.save writes it. The directory is checked as a whole when
// opened: every entry lies within the file, has a local header that agrees, and shares no byte with another.
// Errors: Format, naming path and offset.
class ZipReader {
 public:
  struct Entry {
    uint64_t header = 0;  // offset of the local header
    uint64_t offset = 0;  // of the content
    uint64_t size = 0;
    uint32_t crc = 0;
  };

  explicit ZipReader(std::shared_ptr<const MappedFile> file);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const MappedFile& file() const { return *file_; }

  // The content of an entry, its CRC checked.
  std::span<const std::byte> read(const std::string& name) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace fltac
