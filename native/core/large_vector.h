// A vector for results of hundreds of megabytes: its values begin undefined, and large ones ask the system
// for huge pages, so that threads which write it meet few page faults, and none of them waits while one
// zeroes it.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace fltac {

template <typename T>
struct LargeAllocator {
  using value_type = T;
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  LargeAllocator() = default;
  template <typename U>
  explicit LargeAllocator(const LargeAllocator<U>&) {}

  T* allocate(std::size_t n) {
    const std::size_t bytes = n * sizeof(T);
    if (bytes < kHugePage) return static_cast<T*>(::operator new(bytes));
    void* data = ::operator new(bytes, std::align_val_t{kHugePage});
#if defined(__linux__)
    ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish: without it all is right, but slower
#endif
    return static_cast<T*>(data);
  }
  void deallocate(T* data, std::size_t n) {
    if (n * sizeof(T) < kHugePage) {
      ::operator delete(data);
    } else {
      ::operator delete(data, std::align_val_t{kHugePage});
    }
  }
  // resize(n) leaves new values undefined; resize(n, value) and assign set them as ever.
  template <typename U>
  void construct(U* place) {
    ::new (static_cast<void*>(place)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    std::construct_at(place, std::forward<Arguments>(arguments)...);
  }
  bool operator==(const LargeAllocator&) const { return true; }
};

template <typename T>
using LargeVector = std::vector<T, LargeAllocator<T>>;

}  // namespace fltac
