#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/file_descriptor.h"

namespace fltac {

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  const FileDescriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(ErrorCode::Io, path_, ": cannot be opened for reading: ", std::strerror(errno));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0)
    fail(ErrorCode::Io, path_, ": cannot be examined: ", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::Io, path_, ": expected a regular file");
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED)
    fail(ErrorCode::Io, path_, ": cannot be mapped into memory: ", std::strerror(errno));
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  // munmap takes a pointer to non-const though it changes no byte.
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::give_back(size_t begin, size_t end) const {
  if (begin >= end) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = begin / page * page;
  // Advice: where the system does not take it, the pages stay.
  static_cast<void>(::madvise(const_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED));
}

}  // namespace fltac
