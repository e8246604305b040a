// The inner loop of the fused path: which centroid is nearest to each point of a tile. A tile's points are
// brought into cache once and compared with all centroids there; distances live in registers only.
#pragma once

#include <cstdint>
#include <vector>

#include "core/lanes.h"

namespace fltac {

constexpr int64_t kTilePoints = 48;    // points of a tile
constexpr int64_t kPanel = 8;          // centroids of a panel
constexpr int64_t kTileColumns = 512;  // columns handled at once: a packed tile stays in level-2 cache

// Centroids of several starts, packed for the tile: panels of kPanel centroids, [columns][kPanel] each; the
// last panel of a start is filled up with centroids that are never nearest.
class Codebook {
 public:
  Codebook(int64_t starts, int64_t k, int64_t columns);

  int64_t starts() const { return starts_; }
  int64_t k() const { return k_; }
  int64_t columns() const { return columns_; }
  int64_t panels() const { return panels_; }  // of one start
  const float* panel(int64_t start, int64_t index) const {
    return values_.data() + (start * panels_ + index) * columns_ * kPanel;
  }
  const float* half_norms(int64_t start, int64_t index) const {
    return half_norms_.data() + (start * panels_ + index) * kPanel;
  }

  // Takes centroid `index` of a start from its coordinates in double.
  void set(int64_t start, int64_t index, const double* centroid);

 private:
  int64_t starts_, k_, columns_, panels_;
  LineVector<float> values_;
  std::vector<float> half_norms_;  // |c|^2 / 2 of the rounded centroid; infinite for filling
};

// What a tile found, for each start.
struct TileResult {
  explicit TileResult(int64_t starts);

  // [starts][kTilePoints]: number of the nearest centroid (the first of equals), and (|x - c|^2 - |x|^2) / 2
  // for it and for the nearest but one.
  LineVector<int32_t> label;
  LineVector<float> best, second;
};

// Scratch memory of one thread.
struct TileScratch {
  TileScratch(const Codebook& codebook, bool with_second);

  bool with_second;
  LineVector<float> packed;  // [kTileColumns][kTilePoints]
  LineVector<float>
      products;  // [starts * panels][kPanel][kTilePoints]; only where columns take several passes
};

// Where the coordinates that float32 arithmetic sees are taken from: scale x - shift, with `scale` a power of
// two and `shift` [columns] the scaled mean, so that neither a common offset nor the data's unit costs
// accuracy.
struct Frame {
  float scale = 1;
  std::vector<float> shift;
};

// Compares `count` points (1 to kTilePoints), given by their raw values, with the starts of the codebook
// whose number is in `active`; the codebook is in the frame's coordinates. Products are summed in float32, in
// a fixed order.
void assign_tile(const float* const* points, int64_t count, const Frame& frame, const Codebook& codebook,
                 const std::vector<int64_t>& active, TileScratch& scratch, TileResult& result);

// Writes `count` points in the frame's coordinates to packed [columns][kTilePoints]; the last is repeated.
void pack_tile(const float* const* points, int64_t count, const Frame& frame, float* packed);

// out[s][p] = squared distance from packed point p to vector s of a panel [columns][kPanel]:
// [kPanel][kTilePoints]. Sums of squared differences in float32; exactly 0 for equal coordinates.
void measure_tile(const float* packed, const float* panel, int64_t columns, float* out);

}  // namespace fltac
