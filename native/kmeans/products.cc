#include "kmeans/products.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/lanes.h"

namespace fltac {
namespace {

// Rows of `a` that stay in level-2 cache while strips of `b` pass by.
constexpr int64_t kBlockRows = 36;

template <typename T>
struct Job {
  const T* a;
  const T* b;
  int64_t width;
  bool upper;
  double* out;
  int64_t out_ld;
};

// Vectors are returned through references: returned as values, their ABI would depend on the instruction set.

// Lane l of `out` is x[l] + x[l + H] where bit H of l is clear, and y[l - H] + y[l] where it is set: half as
// many sums of x and of y, side by side.
template <int H, typename T, int W, int... L>
[[gnu::always_inline]] inline void merge(const Lanes<T, W>& x, const Lanes<T, W>& y, Lanes<T, W>& out,
                                         std::integer_sequence<int, L...>) {
  out = __builtin_shufflevector(x, y, ((L & H) == 0 ? L : L - H + W)...) +
        __builtin_shufflevector(x, y, ((L & H) == 0 ? L + H : L + W)...);
}

// Adds the halves of a vector until four lanes are left.
template <typename T, int W>
[[gnu::always_inline]] inline void fold(const Lanes<T, W>& x, Lanes<T, 4>& out) {
  if constexpr (W == 16) {
    const Lanes<T, 8> half = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                             __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    fold<T, 8>(half, out);
  } else if constexpr (W == 8) {
    out = __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
  } else {
    out = x;
  }
}

// The sums of four vectors' lanes.
template <typename T, int W>
[[gnu::always_inline]] inline void sum_up(const Lanes<T, W>* x, Lanes<T, 4>& out) {
  constexpr auto lanes = std::make_integer_sequence<int, W>{};
  Lanes<T, W> first, second;
  merge<1, T, W>(x[0], x[1], first, lanes);
  merge<1, T, W>(x[2], x[3], second, lanes);
  if constexpr (W == 2) {
    out = __builtin_shufflevector(first, second, 0, 1, 2, 3);
  } else {
    Lanes<T, W> both;
    merge<2, T, W>(first, second, both, lanes);
    fold<T, W>(both, out);
  }
}

// A tile of RA x RB products: all their sums stay in registers, and each loaded vector is used RA or RB
// times.
template <typename T, int W, int RA, int RB>
[[gnu::always_inline]] inline void add_tile(const Job<T>& job, int64_t i, int64_t i_end, int64_t j,
                                            int64_t j_end) {
  static_assert(RB == 4);
  using Vector = Lanes<T, W>;
  const T* a = job.a + i * kProductStride<T>;
  const T* b = job.b + j * kProductStride<T>;
  double* out = job.out + i * job.out_ld + j;
  const int64_t rows = std::min<int64_t>(RA, i_end - i), columns = std::min<int64_t>(RB, j_end - j);
  for (int64_t r = 0; r < rows; ++r) __builtin_prefetch(out + r * job.out_ld, 1);
  Vector sum[RA][RB] = {};
  for (int64_t c = 0; c < job.width; c += W) {
    Vector y[RB];
    for (int s = 0; s < RB; ++s) y[s] = *reinterpret_cast<const Vector*>(b + s * kProductStride<T> + c);
    for (int r = 0; r < RA; ++r) {
      const Vector x = *reinterpret_cast<const Vector*>(a + r * kProductStride<T> + c);
      for (int s = 0; s < RB; ++s) sum[r][s] += x * y[s];
    }
  }
  for (int r = 0; r < RA; ++r) {
    Lanes<T, 4> sums;
    sum_up<T, W>(sum[r], sums);
    const Lanes<double, 4> total = __builtin_convertvector(sums, Lanes<double, 4>);
    if (r >= rows) continue;
    double* at = out + r * job.out_ld;
    if (columns == RB) {
      *reinterpret_cast<Lanes<double, 4>*>(at) += total;
    } else {
      for (int64_t s = 0; s < columns; ++s) at[s] += total[s];
    }
  }
}

template <typename T, int W, int RA, int RB>
[[gnu::always_inline]] inline void add_all(const Job<T>& job, RowRange is, RowRange js) {
  static_assert(kRowStrip % RA == 0 && kRowStrip % RB == 0 && kProductStep % W == 0);
  for (int64_t block = is.begin; block < is.end; block += kBlockRows) {
    const int64_t block_end = std::min(is.end, block + kBlockRows);
    for (int64_t j = js.begin; j < js.end; j += RB) {
      for (int64_t i = block; i < block_end; i += RA) {
        if (job.upper && j + RB <= i) break;
        add_tile<T, W, RA, RB>(job, i, block_end, j, js.end);
      }
    }
  }
}

template <typename T>
void add_plain(const Job<T>& job, RowRange is, RowRange js) {
  add_all<T, 16 / sizeof(T), 3, 4>(job, is, js);
}

#if FLTAC_X86
template <typename T>
FLTAC_TARGET_AVX2 void add_avx2(const Job<T>& job, RowRange is, RowRange js) {
  add_all<T, 32 / sizeof(T), 3, 4>(job, is, js);
}
template <typename T>
FLTAC_TARGET_AVX512 void add_avx512(const Job<T>& job, RowRange is, RowRange js) {
  add_all<T, 64 / sizeof(T), 6, 4>(job, is, js);
}
#endif

template <typename T>
void add(const Job<T>& job, RowRange is, RowRange js) {
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

}  // namespace

void add_products(const double* a, RowRange is, const double* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld) {
  add<double>({a, b, width, upper, out, out_ld}, is, js);
}

void add_products(const float* a, RowRange is, const float* b, RowRange js, int64_t width, bool upper,
                  double* out, int64_t out_ld) {
  add<float>({a, b, width, upper, out, out_ld}, is, js);
}

// A product is rounded once, its lane's sum at each step, and the lanes' sums once for each halving.
template <typename T>
int64_t product_roundings() {
  const auto lanes = static_cast<uint64_t>(vector_bytes()) / sizeof(T);
  return 1 + kProductColumns<T> / static_cast<int64_t>(lanes) + std::bit_width(lanes) - 1;
}
template int64_t product_roundings<float>();
template int64_t product_roundings<double>();

}  // namespace fltac
