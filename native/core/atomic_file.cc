#include "core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/error.h"

namespace fltac {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;

// Flushes the folder's entry of a renamed file. File systems that cannot do this say so; the file is whole
// either way.
void sync_folder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const FileDescriptor handle(::open(folder.c_str(), O_RDONLY | O_CLOEXEC));
  if (handle.get() >= 0) ::fsync(handle.get());
}

}  // namespace

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)),
      temporary_(path_ + ".tmp-" + std::to_string(::getpid())),
      file_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) fail_io("created");
  buffer_.reserve(kBuffer);
}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_io(const char* action) const {
  fail(ErrorCode::Io, path_, ": cannot be ", action, " (by way of ", temporary_, "): ", std::strerror(errno));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBuffer) {
    put(buffer_);
    buffer_.clear();
  }
  if (bytes.size() >= kBuffer) {
    put(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void AtomicFile::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io("written");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::commit() {
  put(buffer_);
  buffer_.clear();
  if (::fsync(file_.get()) != 0) fail_io("flushed to disk");
  if (file_.close() != 0) fail_io("closed");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io("put in place");
  committed_ = true;
  sync_folder(path_);
}

}  // namespace fltac
