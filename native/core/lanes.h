// Vectors as GCC and Clang have them, for the loops that a compiler does not vectorise well by itself. A hot
// loop is a template over the vector's width; it is compiled once for each instruction set, and the widest
// one of the machine it runs on is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace fltac {

// Memory that begins where a cache line does: a vector of 64 bytes that straddles two lines costs two reads.
template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <typename U>
  explicit LineAllocator(const LineAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* data, std::size_t) { ::operator delete(data, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
};
template <typename T>
using LineVector = std::vector<T, LineAllocator<T>>;

// W values of T, at any address.
template <typename T, int W>
struct LanesOf {
  typedef T type __attribute__((vector_size(W * sizeof(T)), aligned(alignof(T)), may_alias));
};
template <typename T, int W>
using Lanes = typename LanesOf<T, W>::type;

// Values of one vector register.
enum class VectorBytes { k16 = 16, k32 = 32, k64 = 64 };

#if defined(__x86_64__)
#define FLTAC_X86 1
#define FLTAC_TARGET_AVX2 __attribute__((target("avx2,fma,bmi,bmi2")))
#define FLTAC_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,bmi,bmi2")))
// With products of pairs of bfloat16 values (since Cooper Lake and Zen 4).
#define FLTAC_TARGET_AVX512_BF16 \
  __attribute__((target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,bmi,bmi2")))
inline VectorBytes vector_bytes() {
  static const VectorBytes widest = [] {
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (avx512) return VectorBytes::k64;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return avx2 ? VectorBytes::k32 : VectorBytes::k16;
  }();
  return widest;
}
#else
#define FLTAC_X86 0
constexpr VectorBytes vector_bytes() { return VectorBytes::k16; }
#endif

}  // namespace fltac
