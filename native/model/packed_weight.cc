#include "model/packed_weight.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/lanes.h"

namespace fltac {
namespace {

constexpr int64_t kWidth = 16;          // values of an AVX-512 register
constexpr int64_t kPanel = 2 * kWidth;  // columns of a panel
constexpr int kRows = 12;               // rows that are summed at once: 24 of 32 registers hold sums
constexpr int64_t kInner = 512;      // of a block: 12 rows of x by so many are 24 KiB of the first cache's 48
constexpr int64_t kBlockPanels = 8;  // of a block: kInner x 256 values are 512 KiB of a core's second cache
constexpr int64_t kAhead = 8;        // rows of a panel that are asked for before they are needed
constexpr int64_t kTaskFlops = 1 << 20;  // below it a thread costs more than it brings

// One product. `out` holds the sums of the blocks before; the first one begins with `bias`, if there is one.
struct Operands {
  const float* x;
  int64_t x_stride, rows, inner;
  const float* panels;
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

using Values = Lanes<float, kWidth>;

Values* values_at(float* data) { return reinterpret_cast<Values*>(data); }
const Values* values_at(const float* data) { return reinterpret_cast<const Values*>(data); }

// R rows of a whole panel: c[r][0..32) (+)= x[r][0..inner) panel.
template <int R>
FLTAC_TARGET_AVX512 void tile(const float* x, int64_t x_stride, const float* panel, int64_t inner,
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
    const Values low = *values_at(panel), high = *values_at(panel + kWidth);
    __builtin_prefetch(panel + kAhead * kPanel);
    __builtin_prefetch(panel + kAhead * kPanel + kWidth);
    for (int r = 0; r < R; ++r) {
      const float factor = x[r * x_stride + i];
      sums[r][0] += factor * low;
      sums[r][1] += factor * high;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < 2; ++v) *values_at(c + r * c_stride + v * kWidth) = sums[r][v];
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

using Tile = void (*)(const float*, int64_t, const float*, int64_t, const float*, bool, float*, int64_t);
template <int... I>
constexpr std::array<Tile, sizeof...(I)> tiles_of(std::integer_sequence<int, I...>) {
  return {&tile<I + 1>...};
}
constexpr std::array<Tile, kRows> kTiles = tiles_of(std::make_integer_sequence<int, kRows>());

// The last panel, of which only some columns exist: computed beside, and those copied.
void partial_tile(const Operands& o, int64_t row, int64_t rows, int64_t panel, const Block& block, bool add) {
  const int64_t column = panel * kPanel, width = o.columns - column;
  alignas(64) float sums[kRows * kPanel] = {};
  alignas(64) float bias[kPanel] = {};
  if (o.bias != nullptr) std::copy_n(o.bias + column, width, bias);
  float* out = o.out + row * o.out_stride + column;
  for (int64_t r = 0; add && r < rows; ++r) std::copy_n(out + r * o.out_stride, width, sums + r * kPanel);
  kTiles[static_cast<size_t>(rows - 1)](o.x + row * o.x_stride + block.begin, o.x_stride,
                                        o.panels + (panel * o.inner + block.begin) * kPanel,
                                        block.end - block.begin, bias, add, sums, kPanel);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(sums + r * kPanel, width, out + r * o.out_stride);
}

void row_block(const Operands& o, int64_t row, int64_t rows, const Block& block) {
  const bool add = o.add || block.begin > 0;
  for (int64_t panel = block.first; panel < block.last; ++panel) {
    const int64_t column = panel * kPanel;
    if (column + kPanel > o.columns) {
      partial_tile(o, row, rows, panel, block, add);
      continue;
    }
    kTiles[static_cast<size_t>(rows - 1)](
        o.x + row * o.x_stride + block.begin, o.x_stride, o.panels + (panel * o.inner + block.begin) * kPanel,
        block.end - block.begin, o.bias == nullptr ? nullptr : o.bias + column, add,
        o.out + row * o.out_stride + column, o.out_stride);
  }
}

// Blocks of rows [row_begin, row_end) (in units of kRows) by panels [first, last).
void product(const Operands& o, int64_t row_begin, int64_t row_end, int64_t first, int64_t last) {
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
void product(const Operands&, int64_t, int64_t, int64_t, int64_t) {}
#endif

}  // namespace

bool PackedWeight::available() { return vector_bytes() == VectorBytes::k64; }

PackedWeight::PackedWeight(const at::Tensor& b) : inner_(b.size(0)), columns_(b.size(1)) {
  const int64_t panels = (columns_ + kPanel - 1) / kPanel;
  const at::Tensor padded = at::constant_pad_nd(b, {0, panels * kPanel - columns_});
  panels_ = padded.reshape({inner_, panels, kPanel}).transpose(0, 1).contiguous();
}

void PackedWeight::multiply(const at::Tensor& x, const at::Tensor& bias, bool add,
                            const at::Tensor& out) const {
  const at::Tensor rows = x.stride(1) == 1 ? x : x.contiguous();
  const Operands o{rows.const_data_ptr<float>(),
                   rows.stride(0),
                   rows.size(0),
                   inner_,
                   panels_.const_data_ptr<float>(),
                   columns_,
                   bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                   add,
                   out.mutable_data_ptr<float>(),
                   out.stride(0)};
  const int64_t blocks = (o.rows + kRows - 1) / kRows, panels = panels_.size(0);
  // Few rows (a token, the class tokens of the last layer) are shared out by columns.
  if (blocks >= 4 * at::get_num_threads()) {
    const int64_t grain = std::max<int64_t>(1, kTaskFlops / (2 * kRows * inner_ * columns_ + 1));
    at::parallel_for(0, blocks, grain,
                     [&](int64_t begin, int64_t end) { product(o, begin, end, 0, panels); });
  } else {
    const int64_t grain = std::max<int64_t>(1, kTaskFlops / (2 * o.rows * inner_ * kPanel + 1));
    at::parallel_for(0, panels, grain,
                     [&](int64_t begin, int64_t end) { product(o, 0, blocks, begin, end); });
  }
}

}  // namespace fltac
