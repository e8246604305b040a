// A vector for results of hundreds of megabytes: its values begin undefined, and large ones ask the system
// for huge pages, so that threads which write it meet few page faults, and none of them waits while one
// zeroes it.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace fltac {

// From this size on memory is large: a huge page.
constexpr std::size_t kLargeBytes = std::size_t{2} << 20;

// Undefined bytes, aligned to kLargeBytes. On Linux the block that was freed last is kept for the next of its
// size, because to have pages zeroed (and, in a virtual machine, to have them at all) takes longer than to
// write them; it is freed when another size is asked for. Meanwhile it counts as resident, but the system may
// take its pages back at need. Throws std::bad_alloc.
void* allocate_large(std::size_t bytes);
void free_large(void* data, std::size_t bytes);

template <typename T>
struct LargeAllocator {
  using value_type = T;

  LargeAllocator() = default;
  template <typename U>
  explicit LargeAllocator(const LargeAllocator<U>&) {}

  T* allocate(std::size_t n) {
    const std::size_t bytes = n * sizeof(T);
    return static_cast<T*>(bytes < kLargeBytes ? ::operator new(bytes) : allocate_large(bytes));
  }
  void deallocate(T* data, std::size_t n) {
    if (n * sizeof(T) < kLargeBytes) {
      ::operator delete(data);
    } else {
      free_large(data, n * sizeof(T));
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
