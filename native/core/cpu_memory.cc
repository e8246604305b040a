#include "core/cpu_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "core/error.h"

namespace fltac {
namespace {

// Smaller buffers are left to the C library, whose heap serves them well.
constexpr size_t kLarge = size_t{1} << 18;
// Each buffer's Mark stands this far before it; as far as tensors are aligned.
constexpr size_t kMark = 64;
// Up to this much stays cached between calls: small models call often, and a fresh page costs more than its
// arithmetic.
constexpr size_t kWorthKeeping = size_t{1} << 27;
// A mapping begins with a page for the mark; the buffer follows, so it is page-aligned.
constexpr size_t kHeader = 4096;
// Buffers of several times this size begin where a huge page does, and the system is asked for such: a
// product that walks through matrices of megabytes misses the translation cache otherwise, and a fresh buffer
// costs a fault for every 4 KiB.
constexpr size_t kHugePage = size_t{1} << 21;
constexpr size_t kWorthHugePages = 2 * kHugePage;

struct Mark {
  size_t size = 0;  // bytes of the buffer; 0: it is the C library's
  void* mapping = nullptr;
  size_t mapped = 0;
};
static_assert(sizeof(Mark) <= kMark);

// Sizes are rounded up to eighths of a power of two, so that batches of about one size share buffers.
size_t rounded(size_t n) {
  const size_t step = std::bit_floor(n) / 8;
  return (n + step - 1) / step * step;
}

class CachedCpuAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    void* data =
        n < kLarge ? marked(static_cast<char*>(c10::alloc_cpu(n + kMark)) + kMark, {}) : take(rounded(n));
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }

  void release() {
    if (held() > kWorthKeeping) release_all();
  }

  static CachedCpuAllocator& instance() {
    // Never destroyed: tensors of static life may outlast it otherwise.
    static auto* const allocator = new CachedCpuAllocator();
    return *allocator;
  }

 private:
  // Bytes of cached buffers.
  size_t held() {
    const std::lock_guard lock(mutex_);
    size_t total = 0;
    for (const auto& [size, buffers] : free_) total += size * buffers.size();
    return total;
  }

  void release_all() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, buffers] : free_) {
      for (void* data : buffers) unmap(data);
    }
    free_.clear();
  }

  static void give_back(void* data) {
    if (data == nullptr) return;
    const size_t size = mark_of(data).size;
    if (size == 0) return c10::free_cpu(static_cast<char*>(data) - kMark);
    CachedCpuAllocator& self = instance();
    const std::lock_guard lock(self.mutex_);
    try {
      self.free_[size].push_back(data);
    } catch (const std::bad_alloc&) {
      unmap(data);  // a deleter must not throw
    }
  }

  static void* marked(char* data, const Mark& mark) {
    std::memcpy(data - kMark, &mark, sizeof mark);
    return data;
  }

  void* take(size_t size) {
    {
      const std::lock_guard lock(mutex_);
      // The smallest that serves, up to twice the size: batches of all sizes then live on one set of buffers.
      auto found = free_.lower_bound(size);
      while (found != free_.end() && found->second.empty()) ++found;
      if (found != free_.end() && found->first <= 2 * size) {
        void* data = found->second.back();
        found->second.pop_back();
        if (found->second.empty()) free_.erase(found);
        return data;
      }
    }
    void* data = map(size);
    if (data == nullptr) {
      // What is cached in other sizes may make room.
      release_all();
      data = map(size);
    }
    if (data == nullptr) fail(ErrorCode::OutOfMemory, (size >> 20) + 1, " MiB more were asked for");
    return data;
  }

  // A new buffer; null where the system has no room.
  static void* map(size_t size) {
    const bool huge = size >= kWorthHugePages;
    const size_t mapped = size + (huge ? kHugePage : kHeader);
    void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return nullptr;
    char* data = static_cast<char*>(mapping) + kHeader;
    if (huge) {
      data += (kHugePage - reinterpret_cast<uintptr_t>(data) % kHugePage) % kHugePage;
#ifdef MADV_HUGEPAGE
      madvise(data, size, MADV_HUGEPAGE);  // a wish: without it pages are small
#endif
    }
    return marked(data, {size, mapping, mapped});
  }

  static Mark mark_of(const void* data) {
    Mark mark;
    std::memcpy(&mark, static_cast<const char*>(data) - kMark, sizeof mark);
    return mark;
  }

  static void unmap(void* data) {
    const Mark mark = mark_of(data);
    munmap(mark.mapping, mark.mapped);
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size
};

}  // namespace

void use_cached_cpu_memory() {
  static const bool done = [] {
    // Above the default allocator's priority of 0.
    c10::SetCPUAllocator(&CachedCpuAllocator::instance(), 1);
    return true;
  }();
  static_cast<void>(done);
}

void release_cached_cpu_memory() { CachedCpuAllocator::instance().release(); }

}  // namespace fltac
