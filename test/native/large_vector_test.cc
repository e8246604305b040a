// Memory of large results.
#include "core/large_vector.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>
#include <iostream>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

using Values = LargeVector<float>;
constexpr size_t kHugeValues = kLargeBytes / sizeof(float);

void vectors_of_every_size_hold_what_is_written() {
  for (const size_t n : {size_t{1}, kHugeValues - 1, kHugeValues, 3 * kHugeValues + 5}) {
    Values values;
    values.resize(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 1009);
    size_t wrong = 0;
    for (size_t i = 0; i < n; ++i) wrong += values[i] != static_cast<float>(i % 1009);
    EXPECT(wrong == 0);
    EXPECT(Values(n, 2.0f) == Values(n, 2.0f));
  }
}

// Some sandboxes refuse to let pages go at need; blocks are then given back at once.
bool blocks_are_kept() {
#if defined(__linux__) && defined(MADV_FREE)
  Values probe(kHugeValues);
  if (::madvise(probe.data(), kLargeBytes, MADV_FREE) == 0) return true;
#endif
  std::cerr << "skipped: blocks kept for the next result, for which this system has no MADV_FREE\n";
  return false;
}

void a_freed_block_serves_the_next_of_its_size_alone() {
  if (!blocks_are_kept()) return;
  const auto place = [](const Values& values) { return reinterpret_cast<uintptr_t>(values.data()); };
  constexpr size_t kValues = 3 * kHugeValues + 5;
  uintptr_t freed = 0;
  {
    const Values first(kValues);
    freed = place(first);
  }
  const Values again(kValues);
  EXPECT(place(again) == freed);
  EXPECT(place(again) % kLargeBytes == 0);
}

void threads_never_share_a_block() {
  std::vector<std::thread> threads;
  std::vector<size_t> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([t, &wrong] {
      for (size_t turn = 0; turn < 50; ++turn) {
        Values values;
        values.resize(kHugeValues * (1 + (t + turn) % 2));
        const auto mine = static_cast<float>(t);
        for (size_t i = 0; i < values.size(); i += 512) values[i] = mine;
        for (size_t i = 0; i < values.size(); i += 512) wrong[t] += values[i] != mine;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const size_t count : wrong) EXPECT(count == 0);
}

}  // namespace

int main() {
  return run("large_vector_test", [] {
    vectors_of_every_size_hold_what_is_written();
    a_freed_block_serves_the_next_of_its_size_alone();
    threads_never_share_a_block();
  });
}
