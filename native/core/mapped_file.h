// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace fltac {

// Holds the mapping for its life. The file must not be cut short meanwhile: reading a page that is gone ends
// the process (SIGBUS), as with every memory-mapped file. fltac itself never writes in place (AtomicFile).
class MappedFile {
 public:
  // Errors: Io (not there, not readable, not a regular file).
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Lets go of the memory that holds bytes [begin, end); they are read from the file again when they are next
  // used.
  void give_back(size_t begin, size_t end) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;  // none where the file is empty
  size_t size_ = 0;
};

}  // namespace fltac
