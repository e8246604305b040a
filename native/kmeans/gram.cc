#include "kmeans/gram.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/clones.h"
#include "core/error.h"
#include "core/lanes.h"
#include "kmeans/products.h"
#include "kmeans/sums.h"

namespace fltac {
namespace {

constexpr int64_t kMostLanes = 32;  // whatever the number of threads
constexpr int64_t kMostRun = 8;  // neighbouring chunks of a lane, where all get kLeastRuns of them: what the
constexpr int64_t kLeastRuns = 16;                    // processor reads ahead is then wanted
constexpr size_t kLaneBytes = size_t{64} << 20;       // for the lanes' sums
constexpr int64_t kPackedBytes = int64_t{128} << 20;  // for the rows that threads hold centred
constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// mean = mean / n, or 0 where rows are not centred; false if a sum is not finite.
FLTAC_CLONES bool finish_means(int64_t n, int64_t width, bool centre, double* mean) {
  double check = 0;
  for (int64_t j = 0; j < width; ++j) {
    check += mean[j] * 0.0;
    mean[j] = centre ? mean[j] / static_cast<double>(n) : 0.0;
  }
  return check == 0.0;
}

FLTAC_CLONES void subtract(const double* mean, int64_t width, double* y) {
  for (int64_t j = 0; j < width; ++j) y[j] -= mean[j];
}
FLTAC_CLONES void subtract(const double* mean, int64_t width, float* y) {
  for (int64_t j = 0; j < width; ++j) y[j] -= static_cast<float>(mean[j]);
}

// Writes the columns of a strip of rows [top, n) less their origin to out, rows kProductStride<T>
// apart, and zeros up to padded_columns(width); false if a column holds NaN or infinity (float32 values
// cannot overflow a double sum). Each row is read once, and as far as a chunk goes.
template <typename T>
bool gather(const float* const* rows, int64_t n, int64_t top, const Strip& strip, bool centre, T* out) {
  const int64_t first = strip.first, width = strip.width;
  double mean[kProductColumns<T>] = {};
  for (int64_t i = 0; i < top; ++i) add_scaled(rows[i] + first, 1.0, width, mean);
  int64_t i = top;
  for (; i + kTogether <= n; i += kTogether)
    add_and_copy(rows + i, strip, mean, out + i * kProductStride<T>, kProductStride<T>);
  for (; i < n; ++i) {
    add_scaled(rows[i] + first, 1.0, width, mean);
    std::copy_n(rows[i] + first, width, out + i * kProductStride<T>);
  }
  const bool finite = finish_means(n, width, centre, mean);
  for (i = top; i < n; ++i) {
    T* y = out + i * kProductStride<T>;
    if (centre) subtract(mean, width, y);
    std::fill(y + width, y + padded_columns(width), T{0});
  }
  return finite;
}

// The pass over the columns. Chunks of kChunk columns are dealt to lanes in runs, each lane adds up
// a Gram matrix of its own; where n is so large that there are few lanes for the threads, a lane's rows are
// cut into bands. A unit of work is one lane and one band: it reads, centres and multiplies by itself, so
// that the threads never wait for each other. Lanes decide the order of summation; bands do not.
template <typename T>
class GramPass {
 public:
  static constexpr int64_t kChunk = kProductColumns<T>;

  GramPass(const RowSet& set, ColumnRange range, Origin origin, const Cancelled& cancelled)
      : set_(set), range_(range), centre_(origin == Origin::kMean), cancelled_(cancelled), n_(set.rows()) {
    const int64_t chunks = (range.end - range.begin + kChunk - 1) / kChunk;
    const int64_t fit = static_cast<int64_t>(kLaneBytes / sizeof(double)) / (n_ * n_);
    lanes_ = std::clamp<int64_t>(std::min(fit, chunks), 1, kMostLanes);
    run_ = std::clamp<int64_t>(chunks / (lanes_ * kLeastRuns), 1, kMostRun);
    const int64_t units = 2 * std::min<int64_t>(at::get_num_threads(), kMostLanes);
    cut_bands(std::min((units + lanes_ - 1) / lanes_, std::max<int64_t>(1, n_ / 64)));
    sums_.resize(static_cast<size_t>(lanes_ * n_ * n_));
  }

  std::vector<double> run() {
    for (int64_t first = range_.begin; first < range_.end; first += set_.block_columns()) {
      stop_if_cancelled(cancelled_);
      const int64_t width = std::min(set_.block_columns(), range_.end - first);
      add(set_.read(first, width), first, width);
    }
    return finish();
  }

 private:
  // Bands of about equal area above the diagonal.
  void cut_bands(int64_t count) {
    bands_.push_back(0);
    for (int64_t b = 1; b < count; ++b) {
      const double left = 1.0 - std::sqrt(1.0 - static_cast<double>(b) / static_cast<double>(count));
      const auto row = static_cast<int64_t>(left * static_cast<double>(n_)) / kRowStrip * kRowStrip;
      if (row > bands_.back()) bands_.push_back(row);
    }
    bands_.push_back(n_);
  }

  void add(const ColumnBlock& block, int64_t first, int64_t width) {
    const auto bands = static_cast<int64_t>(bands_.size()) - 1;
    const int64_t values = padded_rows(n_) * kProductStride<T>;
    const int64_t tasks = std::max<int64_t>(1, kPackedBytes / (values * static_cast<int64_t>(sizeof(T))));
    std::atomic<int64_t> bad{kNone};
    at::parallel_for(0, lanes_ * bands, (lanes_ * bands + tasks - 1) / tasks,
                     [&](int64_t begin, int64_t end) {
                       LineVector<T> packed(static_cast<size_t>(values));
                       for (int64_t unit = begin; unit < end; ++unit) {
                         add_unit(block, first, width, unit / bands, unit % bands, packed, bad);
                       }
                     });
    if (bad != kNone) report_non_finite(block, first, bad);
  }

  int64_t lane_of(int64_t chunk) const { return chunk / run_ % lanes_; }

  void add_unit(const ColumnBlock& block, int64_t first, int64_t width, int64_t lane, int64_t band,
                LineVector<T>& packed, std::atomic<int64_t>& bad) {
    const int64_t top = bands_[static_cast<size_t>(band)], bottom = bands_[static_cast<size_t>(band) + 1];
    double* sums = sums_.data() + lane * n_ * n_;
    // Blocks begin at multiples of a chunk from the range's beginning, so a chunk's lane does not depend on
    // them.
    const int64_t before = (first - range_.begin) / kChunk, others = run_ * (lanes_ - 1);
    for (int64_t at = 0; at < width; at += kChunk) {
      const int64_t chunk = before + at / kChunk;
      if (lane_of(chunk) != lane) continue;
      stop_if_cancelled(cancelled_);
      const int64_t columns = std::min(kChunk, width - at),
                    next = lane_of(chunk + 1) == lane ? 1 : others + 1;
      if (!gather(block.rows.data(), n_, top, {at, columns, next * kChunk}, centre_, packed.data())) {
        int64_t seen = bad;
        while (at < seen && !bad.compare_exchange_weak(seen, at)) {
        }
      }
      add_products(packed.data(), {top, bottom}, packed.data(), {top, n_}, padded_columns(columns), true,
                   sums, n_);
    }
  }

  [[noreturn]] void report_non_finite(const ColumnBlock& block, int64_t first, int64_t at) const {
    std::vector<float> values(block.rows.size());
    const auto finite = [](float x) { return std::isfinite(x); };
    do {
      for (size_t i = 0; i < values.size(); ++i) values[i] = block.rows[i][at];
      ++at;
    } while (std::all_of(values.begin(), values.end(), finite));
    fail_non_finite(set_, values, first + at - 1);
  }

  // Adds the lanes up into the whole symmetric matrix.
  std::vector<double> finish() {
    const size_t entries = static_cast<size_t>(n_ * n_);
    for (int64_t lane = 1; lane < lanes_; ++lane) {
      const double* from = sums_.data() + static_cast<size_t>(lane) * entries;
      for (size_t i = 0; i < entries; ++i) sums_[i] += from[i];
    }
    sums_.resize(entries);
    sums_.shrink_to_fit();
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        sums_[static_cast<size_t>(i * n_ + j)] = sums_[static_cast<size_t>(j * n_ + i)];
      }
    }
    return std::move(sums_);
  }

  const RowSet& set_;
  ColumnRange range_;
  bool centre_;
  const Cancelled& cancelled_;
  int64_t n_, lanes_ = 1, run_ = 1;
  std::vector<int64_t> bands_;  // first row of each band, then n
  std::vector<double> sums_;    // [lanes, n, n]; valid where row <= column
};

}  // namespace

void stop_if_cancelled(const Cancelled& cancelled) {
  if (cancelled && cancelled()) fail(ErrorCode::Aborted, "K-means was stopped before it was done");
}

std::vector<double> gram_of_columns(const RowSet& rows, ColumnRange range, Origin origin,
                                    const Cancelled& cancelled) {
  return GramPass<double>(rows, range, origin, cancelled).run();
}

std::vector<double> fast_gram(const RowSet& rows, const Cancelled& cancelled) {
  return GramPass<float>(rows, {0, rows.columns()}, Origin::kMean, cancelled).run();
}

GramError error_of_fast_gram(int64_t columns) {
  constexpr double kUnit = 0x1p-24, kUnderflow = 0x1p-126, kSecondOrder = 1.01;
  const auto roundings = static_cast<double>(product_roundings<float>() + 2);
  return {kSecondOrder * roundings * kUnit, static_cast<double>(columns) * kUnderflow};
}

void centre_gram(std::vector<double>& gram, int64_t n) {
  const auto count = static_cast<double>(n);
  std::vector<double> mean(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    mean[static_cast<size_t>(i)] =
        std::accumulate(gram.begin() + i * n, gram.begin() + (i + 1) * n, 0.0) / count;
  }
  const double all = std::accumulate(mean.begin(), mean.end(), 0.0) / count;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      // The two means are added first, so that the result is symmetric to the last bit.
      gram[static_cast<size_t>(i * n + j)] +=
          all - (mean[static_cast<size_t>(i)] + mean[static_cast<size_t>(j)]);
    }
  }
}

double trace(const std::vector<double>& gram, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += gram[static_cast<size_t>(i * (n + 1))];
  return sum;
}

}  // namespace fltac
