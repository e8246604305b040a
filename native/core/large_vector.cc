#include "core/large_vector.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <memory>
#include <mutex>
#include <utility>

namespace fltac {
namespace {

constexpr std::align_val_t kHugePage{kLargeBytes};

void* allocate(std::size_t bytes) { return ::operator new(bytes, kHugePage); }
void release(void* data) { ::operator delete(data, kHugePage); }

}  // namespace

#if defined(__linux__) && defined(MADV_FREE)
namespace {

struct Free {
  void operator()(void* data) const { release(data); }
};
using Block = std::unique_ptr<void, Free>;

// The block that was freed last.
struct Kept {
  std::mutex mutex;
  Block block;
  std::size_t bytes = 0;
};

Kept& kept() {
  // Never destroyed: other threads may use it while the process ends.
  static Kept& one = *std::make_unique<Kept>().release();
  return one;
}

// The kept block if it has this size, else null; one of another size is freed.
Block take_kept(std::size_t bytes) {
  Kept& one = kept();
  const std::scoped_lock lock(one.mutex);
  Block block = std::move(one.block);
  if (one.bytes != bytes) block.reset();
  return block;
}

void keep(Block block, std::size_t bytes) {
  Kept& one = kept();
  const std::scoped_lock lock(one.mutex);
  one.block = std::move(block);
  one.bytes = bytes;
}

}  // namespace

void* allocate_large(std::size_t bytes) {
  if (Block block = take_kept(bytes)) return block.release();
  void* const data = allocate(bytes);
  ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish: without it all is right, but slower
  return data;
}

void free_large(void* data, std::size_t bytes) {
  Block block(data);
  if (::madvise(data, bytes / kLargeBytes * kLargeBytes, MADV_FREE) == 0) keep(std::move(block), bytes);
}
#else
void* allocate_large(std::size_t bytes) { return allocate(bytes); }
void free_large(void* data, std::size_t) { release(data); }
#endif

}  // namespace fltac
