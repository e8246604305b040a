#include "kmeans/products.h"

#include <algorithm>

#include "core/lanes.h"

namespace fltac {
namespace {

// Rows of `a` that stay in level-2 cache while strips of `b` pass by.
constexpr int64_t kBlockRows = 36;

struct Job {
  const double* a;
  const double* b;
  int64_t width;
  bool upper;
  double* out;
  int64_t out_ld;
};

// The sum of a vector's values, halves first.
template <int W>
[[gnu::always_inline]] inline double sum_of(const Lanes<double, W>& x) {
  if constexpr (W == 8) {
    return sum_of<4>(__builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7));
  } else if constexpr (W == 4) {
    return sum_of<2>(__builtin_shufflevector(x, x, 0, 1) + __builtin_shufflevector(x, x, 2, 3));
  } else {
    return x[0] + x[1];
  }
}

// A tile of RA x RB products: all their sums stay in registers, and each loaded vector is used RA or RB
// times.
template <int W, int RA, int RB>
[[gnu::always_inline]] inline void add_tile(const Job& job, int64_t i, int64_t i_end, int64_t j,
                                            int64_t j_end) {
  using Vector = Lanes<double, W>;
  const double* a = job.a + i * kProductStride;
  const double* b = job.b + j * kProductStride;
  Vector sum[RA][RB] = {};
  for (int64_t c = 0; c < job.width; c += W) {
    Vector y[RB];
    for (int s = 0; s < RB; ++s) y[s] = *reinterpret_cast<const Vector*>(b + s * kProductStride + c);
    for (int r = 0; r < RA; ++r) {
      const Vector x = *reinterpret_cast<const Vector*>(a + r * kProductStride + c);
      for (int s = 0; s < RB; ++s) sum[r][s] += x * y[s];
    }
  }
  double* out = job.out + i * job.out_ld + j;
  if (i + RA <= i_end && j + RB <= j_end) {
    for (int r = 0; r < RA; ++r) {
      for (int s = 0; s < RB; ++s) out[r * job.out_ld + s] += sum_of<W>(sum[r][s]);
    }
    return;
  }
  for (int r = 0; r < RA; ++r) {
    for (int s = 0; s < RB; ++s) {
      const double total = sum_of<W>(sum[r][s]);
      if (i + r < i_end && j + s < j_end) out[r * job.out_ld + s] += total;
    }
  }
}

template <int W, int RA, int RB>
[[gnu::always_inline]] inline void add_all(const Job& job, RowRange is, RowRange js) {
  static_assert(kRowStrip % RA == 0 && kRowStrip % RB == 0);
  for (int64_t block = is.begin; block < is.end; block += kBlockRows) {
    const int64_t block_end = std::min(is.end, block + kBlockRows);
    for (int64_t j = js.begin; j < js.end; j += RB) {
      for (int64_t i = block; i < block_end; i += RA) {
        if (job.upper && j + RB <= i) break;
        add_tile<W, RA, RB>(job, i, is.end, j, js.end);
      }
    }
  }
}

void add_plain(const Job& job, RowRange is, RowRange js) { add_all<2, 3, 4>(job, is, js); }

#if FLTAC_X86
FLTAC_TARGET_AVX2 void add_avx2(const Job& job, RowRange is, RowRange js) { add_all<4, 3, 4>(job, is, js); }
FLTAC_TARGET_AVX512 void add_avx512(const Job& job, RowRange is, RowRange js) {
  add_all<8, 4, 6>(job, is, js);
}
#endif

}  // namespace

void add_products(const double* a, RowRange is, const double* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld) {
  const Job job{a, b, width, upper, out, out_ld};
  switch (vector_bytes()) {
#if FLTAC_X86
    case VectorBytes::k64:
      return add_avx512(job, is, js);
    case VectorBytes::k32:
      return add_avx2(job, is, js);
#endif
    default:
      return add_plain(job, is, js);
  }
}

}  // namespace fltac
