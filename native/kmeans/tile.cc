#include "kmeans/tile.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/lanes.h"

namespace fltac {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Elements of a and b in turn, from the first half of each, or from the second.
template <int W, typename Vector, size_t... I>
[[gnu::always_inline]] inline void interleave(const Vector& a, const Vector& b, Vector& low, Vector& high,
                                              std::index_sequence<I...>) {
  low = __builtin_shufflevector(a, b, (I % 2 == 0 ? I / 2 : W + I / 2)...);
  high = __builtin_shufflevector(a, b, (I % 2 == 0 ? (W + I) / 2 : W + (W + I) / 2)...);
}

// Transposes W vectors of W values: log2(W) perfect shuffles.
template <int W>
[[gnu::always_inline]] inline void transpose(Lanes<float, W> (&x)[W]) {
  for (int round = 1; round < W; round *= 2) {
    Lanes<float, W> y[W];
    for (int i = 0; i < W / 2; ++i)
      interleave<W>(x[i], x[i + W / 2], y[2 * i], y[2 * i + 1], std::make_index_sequence<W>());
    for (int i = 0; i < W; ++i) x[i] = y[i];
  }
}

// packed[c][p] = scale points[p][first + c] - shift[first + c] for c in [0, width).
template <int W>
[[gnu::always_inline]] inline void pack(const float* const* points, const Frame& frame, int64_t first,
                                        int64_t width, float* packed) {
  using Vector = Lanes<float, W>;
  static_assert(kTilePoints % W == 0);
  const float scale = frame.scale;
  const float* shift = frame.shift.data() + first;
  for (int64_t p = 0; p < kTilePoints; p += W) {
    int64_t c = 0;
    for (; c + W <= width; c += W) {
      const Vector origin = *reinterpret_cast<const Vector*>(shift + c);
      Vector x[W];
      for (int i = 0; i < W; ++i)
        x[i] = scale * *reinterpret_cast<const Vector*>(points[p + i] + first + c) - origin;
      transpose<W>(x);
      for (int i = 0; i < W; ++i) *reinterpret_cast<Vector*>(packed + (c + i) * kTilePoints + p) = x[i];
    }
    for (; c < width; ++c) {
      for (int i = 0; i < W; ++i)
        packed[c * kTilePoints + p + i] = scale * points[p + i][first + c] - shift[c];
    }
  }
}

// One panel against the packed tile.
struct PanelJob {
  const float* packed;      // [width][kTilePoints]
  const float* panel;       // [width][kPanel]
  const float* half_norms;  // [kPanel]
  float* products;          // [kPanel][kTilePoints], of the columns before; null where one pass takes all
  int64_t width;
  int32_t first_label;
  bool last;  // no columns follow
  float* best;
  float* second;  // null where it is not asked for
  int32_t* label;
};

// V vectors of W points against C centroids.
template <int W, int V, int C>
[[gnu::always_inline]] inline void multiply(const PanelJob& job, int64_t point, int centroid) {
  using Vector = Lanes<float, W>;
  using Labels = Lanes<int32_t, W>;
  Vector sum[V][C] = {};
  const float* x = job.packed + point;
  const float* y = job.panel + centroid;
  for (int64_t c = 0; c < job.width; ++c, x += kTilePoints, y += kPanel) {
    Vector of_points[V];
    for (int v = 0; v < V; ++v) of_points[v] = *reinterpret_cast<const Vector*>(x + v * W);
    for (int s = 0; s < C; ++s) {
      for (int v = 0; v < V; ++v) sum[v][s] += of_points[v] * y[s];
    }
  }
  if (job.products != nullptr) {
    float* kept = job.products + centroid * kTilePoints + point;
    for (int s = 0; s < C; ++s) {
      for (int v = 0; v < V; ++v) {
        auto& before = *reinterpret_cast<Vector*>(kept + s * kTilePoints + v * W);
        sum[v][s] += before;
        before = sum[v][s];
      }
    }
    if (!job.last) return;
  }
  for (int v = 0; v < V; ++v) {
    auto* const best_at = reinterpret_cast<Vector*>(job.best + point + v * W);
    auto* const label_at = reinterpret_cast<Labels*>(job.label + point + v * W);
    Vector best = *best_at, second = {};
    Labels label = *label_at;
    if (job.second != nullptr) second = *reinterpret_cast<const Vector*>(job.second + point + v * W);
    for (int s = 0; s < C; ++s) {
      const Vector distance = job.half_norms[centroid + s] - sum[v][s];
      const Labels nearer = distance < best;
      const Vector other = nearer ? best : distance;
      second = other < second ? other : second;
      best = nearer ? distance : best;
      label = nearer ? Labels{} + (job.first_label + centroid + s) : label;
    }
    *best_at = best;
    *label_at = label;
    if (job.second != nullptr) *reinterpret_cast<Vector*>(job.second + point + v * W) = second;
  }
}

// out[s][p] = sum over columns of (packed point p - panel's vector s)^2.
template <int W, int V, int C>
[[gnu::always_inline]] inline void measure(const float* packed, const float* panel, int64_t columns,
                                           float* out) {
  using Vector = Lanes<float, W>;
  for (int centroid = 0; centroid < kPanel; centroid += C) {
    for (int64_t point = 0; point < kTilePoints; point += W * V) {
      Vector sum[V][C] = {};
      for (int64_t c = 0; c < columns; ++c) {
        const float* x = packed + c * kTilePoints + point;
        const float* y = panel + c * kPanel + centroid;
        for (int s = 0; s < C; ++s) {
          for (int v = 0; v < V; ++v) {
            const Vector difference = *reinterpret_cast<const Vector*>(x + v * W) - y[s];
            sum[v][s] += difference * difference;
          }
        }
      }
      for (int s = 0; s < C; ++s) {
        for (int v = 0; v < V; ++v)
          *reinterpret_cast<Vector*>(out + (centroid + s) * kTilePoints + point + v * W) = sum[v][s];
      }
    }
  }
}

template <int W, int V, int C>
[[gnu::always_inline]] inline void multiply_panel(const PanelJob& job) {
  static_assert(kTilePoints % (W * V) == 0 && kPanel % C == 0);
  for (int centroid = 0; centroid < kPanel; centroid += C) {
    for (int64_t point = 0; point < kTilePoints; point += W * V) multiply<W, V, C>(job, point, centroid);
  }
}

struct Routines {
  void (*pack)(const float* const* points, const Frame& frame, int64_t first, int64_t width, float* packed);
  void (*multiply)(const PanelJob& job);
  void (*measure)(const float* packed, const float* panel, int64_t columns, float* out);
};

void pack_plain(const float* const* points, const Frame& frame, int64_t first, int64_t width, float* packed) {
  pack<4>(points, frame, first, width, packed);
}
void multiply_plain(const PanelJob& job) { multiply_panel<4, 3, 4>(job); }
void measure_plain(const float* packed, const float* panel, int64_t columns, float* out) {
  measure<4, 3, 2>(packed, panel, columns, out);
}

#if FLTAC_X86
FLTAC_TARGET_AVX2 void pack_avx2(const float* const* points, const Frame& frame, int64_t first, int64_t width,
                                 float* packed) {
  pack<8>(points, frame, first, width, packed);
}
FLTAC_TARGET_AVX2 void multiply_avx2(const PanelJob& job) { multiply_panel<8, 3, 4>(job); }
FLTAC_TARGET_AVX2 void measure_avx2(const float* packed, const float* panel, int64_t columns, float* out) {
  measure<8, 3, 2>(packed, panel, columns, out);
}

FLTAC_TARGET_AVX512 void pack_avx512(const float* const* points, const Frame& frame, int64_t first,
                                     int64_t width, float* packed) {
  pack<16>(points, frame, first, width, packed);
}
FLTAC_TARGET_AVX512 void multiply_avx512(const PanelJob& job) { multiply_panel<16, 3, 8>(job); }
FLTAC_TARGET_AVX512 void measure_avx512(const float* packed, const float* panel, int64_t columns,
                                        float* out) {
  measure<16, 3, 4>(packed, panel, columns, out);
}
#endif

Routines routines() {
  switch (vector_bytes()) {
#if FLTAC_X86
    case VectorBytes::k64:
      return {pack_avx512, multiply_avx512, measure_avx512};
    case VectorBytes::k32:
      return {pack_avx2, multiply_avx2, measure_avx2};
#endif
    default:
      return {pack_plain, multiply_plain, measure_plain};
  }
}

}  // namespace

Codebook::Codebook(int64_t starts, int64_t k, int64_t columns)
    : starts_(starts),
      k_(k),
      columns_(columns),
      panels_((k + kPanel - 1) / kPanel),
      values_(static_cast<size_t>(starts * panels_ * columns * kPanel)),
      half_norms_(static_cast<size_t>(starts * panels_ * kPanel), kInfinity) {}

void Codebook::set(int64_t start, int64_t index, const double* centroid) {
  const int64_t at = start * panels_ + index / kPanel;
  float* out = values_.data() + at * columns_ * kPanel + index % kPanel;
  double norm2 = 0;
  for (int64_t c = 0; c < columns_; ++c) {
    const auto value = static_cast<float>(centroid[c]);
    out[c * kPanel] = value;
    norm2 += static_cast<double>(value) * value;
  }
  half_norms_[static_cast<size_t>(at * kPanel + index % kPanel)] = static_cast<float>(norm2 / 2);
}

TileResult::TileResult(int64_t starts)
    : label(static_cast<size_t>(starts * kTilePoints)), best(label.size()), second(label.size()) {}

TileScratch::TileScratch(const Codebook& codebook, bool with_second_)
    : with_second(with_second_),
      packed(static_cast<size_t>(std::min(kTileColumns, codebook.columns()) * kTilePoints)),
      products(codebook.columns() > kTileColumns
                   ? static_cast<size_t>(codebook.starts() * codebook.panels() * kPanel * kTilePoints)
                   : 0) {}

void pack_tile(const float* const* points, int64_t count, const Frame& frame, float* packed) {
  const float* filled[kTilePoints];
  for (int64_t p = 0; p < kTilePoints; ++p) filled[p] = points[std::min(p, count - 1)];
  routines().pack(filled, frame, 0, static_cast<int64_t>(frame.shift.size()), packed);
}

void measure_tile(const float* packed, const float* panel, int64_t columns, float* out) {
  routines().measure(packed, panel, columns, out);
}

void assign_tile(const float* const* points, int64_t count, const Frame& frame, const Codebook& codebook,
                 const std::vector<int64_t>& active, TileScratch& scratch, TileResult& result) {
  const Routines run = routines();
  const float* filled[kTilePoints];
  for (int64_t p = 0; p < kTilePoints; ++p) filled[p] = points[std::min(p, count - 1)];
  std::fill(result.best.begin(), result.best.end(), kInfinity);
  std::fill(result.second.begin(), result.second.end(), kInfinity);
  std::fill(result.label.begin(), result.label.end(), 0);
  std::fill(scratch.products.begin(), scratch.products.end(), 0.0f);
  for (int64_t first = 0; first < codebook.columns(); first += kTileColumns) {
    const int64_t width = std::min(kTileColumns, codebook.columns() - first);
    run.pack(filled, frame, first, width, scratch.packed.data());
    for (const int64_t start : active) {
      const int64_t at = start * kTilePoints;
      for (int64_t p = 0; p < codebook.panels(); ++p) {
        const int64_t kept = (start * codebook.panels() + p) * kPanel * kTilePoints;
        run.multiply(
            {scratch.packed.data(), codebook.panel(start, p) + first * kPanel, codebook.half_norms(start, p),
             scratch.products.empty() ? nullptr : scratch.products.data() + kept, width,
             static_cast<int32_t>(p * kPanel), first + width == codebook.columns(), result.best.data() + at,
             scratch.with_second ? result.second.data() + at : nullptr, result.label.data() + at});
      }
    }
  }
}

}  // namespace fltac
