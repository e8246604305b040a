#include "kmeans/gram.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>

#include "core/clones.h"
#include "core/error.h"

extern "C" void dgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k,
                       const double* alpha, const double* a, const int* lda, const double* b, const int* ldb,
                       const double* beta, double* c, const int* ldc);

namespace fltac {
namespace {

constexpr int64_t kBlock = 512;  // columns of one product: 50 rows in double fill 200 kB, a level-2 cache
constexpr int64_t kStrip = 64;   // columns gathered at once: their sums stay in level-1 cache
constexpr int64_t kTile = 128;   // rows and columns of one product's result
constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// Writes rows[:, first, first + width) minus their column means to out [n, ld]; false if a mean is not finite
// (float32 values cannot overflow a double sum, so then one of them is NaN or infinite).
FLTAC_CLONES bool gather_centred(const float* const* rows, int64_t n, int64_t first, int64_t width,
                                 double* out, int64_t ld) {
  double mean[kStrip] = {};
  for (int64_t i = 0; i < n; ++i) {
    const float* x = rows[i] + first;
    for (int64_t j = 0; j < width; ++j) mean[j] += static_cast<double>(x[j]);
  }
  double check = 0;
  for (int64_t j = 0; j < width; ++j) {
    mean[j] /= static_cast<double>(n);
    check += mean[j] * 0.0;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float* x = rows[i] + first;
    double* y = out + i * ld;
    for (int64_t j = 0; j < width; ++j) y[j] = static_cast<double>(x[j]) - mean[j];
  }
  return check == 0.0;
}

// The pass over the columns. A step takes `lanes` blocks of kBlock columns; lane l adds its blocks up in its
// own partial Gram, tile by tile, so that products of few rows can run side by side.
class GramPass {
 public:
  GramPass(std::span<const float* const> rows, int64_t columns)
      : rows_(rows),
        n_(static_cast<int64_t>(rows.size())),
        columns_(columns),
        lanes_(std::clamp<int64_t>((int64_t{1} << 20) / (n_ * n_), 1, 16)),
        tiles_((n_ + kTile - 1) / kTile),
        block_(static_cast<size_t>(lanes_ * n_ * kBlock)),
        partial_(static_cast<size_t>(lanes_ * n_ * n_)) {}

  int64_t step() const { return lanes_ * kBlock; }

  void add(int64_t first) {
    gather(first);
    multiply(first);
  }

  // Adds the lanes up into the whole symmetric matrix.
  std::vector<double> finish() {
    const size_t entries = static_cast<size_t>(n_ * n_);
    for (int64_t lane = 1; lane < lanes_; ++lane) {
      const double* from = partial_.data() + static_cast<size_t>(lane) * entries;
      for (size_t i = 0; i < entries; ++i) partial_[i] += from[i];
    }
    partial_.resize(entries);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = i + 1; j < n_; ++j) {
        partial_[static_cast<size_t>(i * n_ + j)] = partial_[static_cast<size_t>(j * n_ + i)];
      }
    }
    return std::move(partial_);
  }

 private:
  void gather(int64_t first) {
    const int64_t end = std::min(columns_, first + step());
    std::atomic<int64_t> bad{kNone};
    at::parallel_for(0, (end - first + kStrip - 1) / kStrip, 1, [&](int64_t begin_strip, int64_t end_strip) {
      for (int64_t s = begin_strip; s < end_strip; ++s) {
        const int64_t column = first + s * kStrip, lane = s * kStrip / kBlock;
        double* out = block_.data() + lane * n_ * kBlock + s * kStrip % kBlock;
        const bool finite =
            gather_centred(rows_.data(), n_, column, std::min(kStrip, end - column), out, kBlock);
        int64_t seen = bad.load();
        while (!finite && column < seen && !bad.compare_exchange_weak(seen, column)) {
        }
      }
    });
    if (bad.load() != kNone) report_non_finite(bad.load());
  }

  [[noreturn]] void report_non_finite(int64_t first) const {
    int64_t column = first;
    const auto finite = [&](const float* x) { return std::isfinite(x[column]); };
    while (std::all_of(rows_.begin(), rows_.end(), finite)) ++column;
    fail_non_finite(rows_, column);
  }

  void multiply(int64_t first) {
    const int64_t pairs = tiles_ * (tiles_ + 1) / 2;
    const int64_t used = std::min(lanes_, (columns_ - first + kBlock - 1) / kBlock);
    at::parallel_for(0, used * pairs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t lane = unit / pairs;
        int64_t low = unit % pairs, high = 0;
        while (low > high) low -= ++high;
        const int64_t width = std::min(kBlock, columns_ - first - lane * kBlock);
        add_tile(lane, low * kTile, high * kTile, static_cast<int>(width));
      }
    });
  }

  // partial[a, b] += <row a, row b> for a in the tile at row_a <= row_b, b in the tile at row_b. BLAS is
  // column-major: entry (a, b) lies at b * n + a, so every entry with a <= b is filled. (libtorch exports no
  // dsyrk.)
  void add_tile(int64_t lane, int64_t row_a, int64_t row_b, int width) {
    const double* block = block_.data() + lane * n_ * kBlock;
    double* out = partial_.data() + lane * n_ * n_ + row_b * n_ + row_a;
    const int rows_a = static_cast<int>(std::min(kTile, n_ - row_a));
    const int rows_b = static_cast<int>(std::min(kTile, n_ - row_b));
    const int ld = static_cast<int>(kBlock), ldc = static_cast<int>(n_);
    const double one = 1.0;
    dgemm_("T", "N", &rows_a, &rows_b, &width, &one, block + row_a * kBlock, &ld, block + row_b * kBlock, &ld,
           &one, out, &ldc);
  }

  std::span<const float* const> rows_;
  int64_t n_, columns_, lanes_, tiles_;
  std::vector<double> block_;    // [lanes, n, kBlock] centred values of the step
  std::vector<double> partial_;  // [lanes, n, n]; valid where row <= column
};

}  // namespace

void stop_if_cancelled(const std::function<bool()>& cancelled) {
  if (cancelled && cancelled()) fail(ErrorCode::Aborted, "K-means was stopped before it was done");
}

void fail_non_finite(std::span<const float* const> rows, int64_t column) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const float x = rows[i][column];
    if (!std::isfinite(x)) {
      fail(ErrorCode::NonFinite, "row ", i, " is ", x, " at column ", column, ": every value must be finite");
    }
  }
  fail(ErrorCode::Internal, "column ", column, " was said to hold a value that is not finite, but does not");
}

std::vector<double> centred_gram(std::span<const float* const> rows, int64_t columns,
                                 const std::function<bool()>& cancelled) {
  GramPass pass(rows, columns);
  for (int64_t first = 0; first < columns; first += pass.step()) {
    stop_if_cancelled(cancelled);
    pass.add(first);
  }
  return pass.finish();
}

}  // namespace fltac
