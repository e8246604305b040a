#include "model/packed_weight.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "core/lanes.h"
#include "model/weight_type.h"

#if FLTAC_X86
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace fltac {
namespace {

constexpr int64_t kWidth = 16;           // values of an AVX-512 register
constexpr int64_t kPanel = 2 * kWidth;   // columns of a panel
constexpr int kRows = 12;                // rows that are summed at once: 24 of 32 registers hold sums
constexpr int64_t kTaskFlops = 1 << 20;  // below it a thread costs more than it brings

// Two bfloat16 values that lie side by side, the first in the low half.
using Pair = uint32_t;

// One product over words, which are float values or pairs. `out` holds the sums of the blocks before; the
// first one begins with `bias`, if there is one.
template <typename Word>
struct Operands {
  const Word* x;
  int64_t x_stride, rows, inner;
  const Word* panels;
  int64_t columns;
  const float* bias;
  bool add;
  float* out;
  int64_t out_stride;
};

// Panels [first, last), and [begin, end) of what is summed over.
struct Block {
  int64_t first, last, begin, end;
};

#if FLTAC_X86
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

constexpr int64_t kInner =
    512;  // words of a block: 12 rows of x by so many are 24 KiB of the first cache's 32 or 48
constexpr int64_t kBlockPanels = 8;  // of a block: kInner x 256 words are 512 KiB of a core's second cache
constexpr int64_t kAhead = 8;        // rows of a panel that are asked for before they are needed

using Values = Lanes<float, kWidth>;

Values* values_at(float* data) { return reinterpret_cast<Values*>(data); }
const Values* values_at(const float* data) { return reinterpret_cast<const Values*>(data); }

// sums += factor * words at `panel`.
[[gnu::always_inline]] FLTAC_TARGET_AVX512_BF16 inline void accumulate(float factor, const float* panel,
                                                                       Values& sums) {
  sums += factor * *values_at(panel);
}
[[gnu::always_inline]] FLTAC_TARGET_AVX512_BF16 inline void accumulate(Pair factor, const Pair* panel,
                                                                       Values& sums) {
  const __m512i words = _mm512_loadu_si512(panel), factors = _mm512_set1_epi32(static_cast<int>(factor));
  sums = _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(factors), reinterpret_cast<__m512bh>(words));
}

// R rows of a whole panel: c[r][0..32) (+)= x[r][0..inner) panel. Compiled for bfloat16's instructions, of
// which there are none in tiles of float.
template <typename Word, int R>
FLTAC_TARGET_AVX512_BF16 void tile(const Word* x, int64_t x_stride, const Word* panel, int64_t inner,
                                   const float* bias, bool add, float* c, int64_t c_stride) {
  Values sums[R][2];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < 2; ++v) {
      if (add) {
        sums[r][v] = *values_at(c + r * c_stride + v * kWidth);
      } else if (bias != nullptr) {
        sums[r][v] = *values_at(bias + v * kWidth);
      } else {
        sums[r][v] = Values{};
      }
    }
  }
  for (int64_t i = 0; i < inner; ++i, panel += kPanel) {
    // The address may lie behind the weight: nothing is read.
    const uintptr_t ahead = reinterpret_cast<uintptr_t>(panel) + kAhead * kPanel * sizeof(Word);
    for (int v = 0; v < 2; ++v)
      __builtin_prefetch(reinterpret_cast<const void*>(ahead + v * kWidth * sizeof(Word)));
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 2; ++v) accumulate(x[r * x_stride + i], panel + v * kWidth, sums[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < 2; ++v) *values_at(c + r * c_stride + v * kWidth) = sums[r][v];
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

template <typename Word>
using Tile = void (*)(const Word*, int64_t, const Word*, int64_t, const float*, bool, float*, int64_t);
template <typename Word, int... I>
constexpr std::array<Tile<Word>, sizeof...(I)> tiles_of(std::integer_sequence<int, I...>) {
  return {&tile<Word, I + 1>...};
}
template <typename Word>
constexpr std::array<Tile<Word>, kRows> kTiles = tiles_of<Word>(std::make_integer_sequence<int, kRows>());

// Rounds values to bfloat16, to nearest or even; values below float32's normal ones become 0.
FLTAC_TARGET_AVX512_BF16 void round_row(const float* x, int64_t n, Pair* out) {
  constexpr int64_t kTogether = 2 * kWidth;
  auto* to = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < n; i += kTogether) {
    const auto mask = [&](int64_t first) {
      const int64_t left = std::clamp<int64_t>(n - first, 0, kWidth);
      return static_cast<__mmask16>((1u << left) - 1);
    };
    const __m512 low = _mm512_maskz_loadu_ps(mask(i), x + i);
    const __m512 high = _mm512_maskz_loadu_ps(mask(i + kWidth), x + i + kWidth);
    const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
    const int64_t words = (std::min(n - i, kTogether) + 1) / 2;
    _mm512_mask_storeu_epi32(to + i, static_cast<__mmask16>((1u << words) - 1), rounded);
  }
}

// The last panel, of which only some columns exist: computed beside, and those copied.
template <typename Word>
void partial_tile(const Operands<Word>& o, int64_t row, int64_t rows, int64_t panel, const Block& block,
                  bool add) {
  const int64_t column = panel * kPanel, width = o.columns - column;
  alignas(64) float sums[kRows * kPanel] = {};
  alignas(64) float bias[kPanel] = {};
  if (o.bias != nullptr) std::copy_n(o.bias + column, width, bias);
  float* out = o.out + row * o.out_stride + column;
  for (int64_t r = 0; add && r < rows; ++r) std::copy_n(out + r * o.out_stride, width, sums + r * kPanel);
  kTiles<Word>[static_cast<size_t>(rows - 1)](o.x + row* o.x_stride + block.begin, o.x_stride,
                                              o.panels + (panel* o.inner + block.begin)* kPanel,
                                              block.end - block.begin, bias, add, sums, kPanel);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(sums + r * kPanel, width, out + r * o.out_stride);
}

template <typename Word>
void row_block(const Operands<Word>& o, int64_t row, int64_t rows, const Block& block) {
  const bool add = o.add || block.begin > 0;
  for (int64_t panel = block.first; panel < block.last; ++panel) {
    const int64_t column = panel * kPanel;
    if (column + kPanel > o.columns) {
      partial_tile(o, row, rows, panel, block, add);
      continue;
    }
    kTiles<Word>[static_cast<size_t>(rows - 1)](
        o.x + row* o.x_stride + block.begin, o.x_stride, o.panels + (panel* o.inner + block.begin)* kPanel,
        block.end - block.begin, o.bias == nullptr ? nullptr : o.bias + column, add,
        o.out + row* o.out_stride + column, o.out_stride);
  }
}

// Blocks of rows [row_begin, row_end) (in units of kRows) by panels [first, last).
template <typename Word>
void product(const Operands<Word>& o, int64_t row_begin, int64_t row_end, int64_t first, int64_t last) {
  const int64_t pieces = std::max<int64_t>(1, (o.inner + kInner - 1) / kInner);
  for (int64_t piece = 0; piece < pieces; ++piece) {
    Block block{0, 0, o.inner * piece / pieces, o.inner * (piece + 1) / pieces};
    for (block.first = first; block.first < last; block.first = block.last) {
      block.last = std::min(last, block.first + kBlockPanels);
      for (int64_t b = row_begin; b < row_end; ++b) {
        row_block(o, b * kRows, std::min<int64_t>(kRows, o.rows - b * kRows), block);
      }
    }
  }
}
#else
void round_row(const float*, int64_t, Pair*) {}
template <typename Word>
void product(const Operands<Word>&, int64_t, int64_t, int64_t, int64_t) {}
#endif

// Shares a product out over the threads.
template <typename Word>
void multiply_all(const Operands<Word>& o, int64_t panels) {
  constexpr int64_t kWordFlops = std::is_same_v<Word, Pair> ? 4 : 2;
  const int64_t blocks = (o.rows + kRows - 1) / kRows;
  // Few rows (a token, the class tokens of the last layer) are shared out by columns.
  if (blocks >= 4 * at::get_num_threads()) {
    const int64_t grain = std::max<int64_t>(1, kTaskFlops / (kWordFlops * kRows * o.inner * o.columns + 1));
    at::parallel_for(0, blocks, grain,
                     [&](int64_t begin, int64_t end) { product(o, begin, end, 0, panels); });
  } else {
    const int64_t grain = std::max<int64_t>(1, kTaskFlops / (kWordFlops * o.rows * o.inner * kPanel + 1));
    at::parallel_for(0, panels, grain,
                     [&](int64_t begin, int64_t end) { product(o, 0, blocks, begin, end); });
  }
}

// x [rows, n] as pairs [rows, (n + 1) / 2], int32, the last filled up with 0.
at::Tensor rounded(const at::Tensor& x) {
  const int64_t rows = x.size(0), n = x.size(1), words = (n + 1) / 2;
  const at::Tensor pairs = at::empty({rows, words}, at::kInt);
  const float* from = x.const_data_ptr<float>();
  auto* to = reinterpret_cast<Pair*>(pairs.mutable_data_ptr<int32_t>());
  at::parallel_for(0, rows, std::max<int64_t>(1, kTaskFlops / (n + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) round_row(from + r * x.stride(0), n, to + r * words);
  });
  return pairs;
}

// Whether the CPU has AMX's products of bfloat16 and the system lets programs use its tiles; asked where
// AVX-512 is known to be usable. Compilers that know AVX512_BF16 do not all know its name.
bool cpu_has_amx() {
#if FLTAC_X86
  constexpr unsigned kAmxBf16 = 1u << 22, kTiles = 3u << 17;
  unsigned a = 0, b = 0, c = 0, d = 0, enabled = 0, high = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAmxBf16) == 0) return false;
  __asm__("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
  return (enabled & kTiles) == kTiles;
#else
  return false;
#endif
}

}  // namespace

bool PackedWeight::available(at::ScalarType dtype) {
  if (vector_bytes() != VectorBytes::k64) return false;
  return dtype == at::kFloat || (dtype == at::kBFloat16 && cpu_has_bfloat16() && !cpu_has_amx());
}

PackedWeight::PackedWeight(const at::Tensor& b) : columns_(b.size(1)) {
  const int64_t panels = (columns_ + kPanel - 1) / kPanel;
  const int64_t in_word = b.scalar_type() == at::kFloat ? 1 : 2, words = (b.size(0) + in_word - 1) / in_word;
  const at::Tensor padded =
      at::constant_pad_nd(b, {0, panels * kPanel - columns_, 0, words * in_word - b.size(0)});
  panels_ = padded.reshape({words, in_word, panels, kPanel}).permute({2, 0, 3, 1}).contiguous();
}

void PackedWeight::multiply(const at::Tensor& x, const at::Tensor& bias, bool add,
                            const at::Tensor& out) const {
  const at::Tensor rows = x.stride(1) == 1 ? x : x.contiguous();
  const auto run = [&]<typename Word>(const Word* values, int64_t stride, const Word* panels) {
    multiply_all(Operands<Word>{values, stride, rows.size(0), panels_.size(1), panels, columns_,
                                bias.defined() ? bias.const_data_ptr<float>() : nullptr, add,
                                out.mutable_data_ptr<float>(), out.stride(0)},
                 panels_.size(0));
  };
  if (panels_.scalar_type() == at::kFloat) {
    run(rows.const_data_ptr<float>(), rows.stride(0), panels_.const_data_ptr<float>());
  } else {
    const at::Tensor pairs = rounded(rows);
    run(static_cast<const Pair*>(pairs.const_data_ptr()), pairs.stride(0),
        static_cast<const Pair*>(panels_.const_data_ptr()));
  }
}

}  // namespace fltac
