// Counter-based random bits (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011). A value is a function of (stream, step, site, row, column) alone: it depends neither on what else is
// in the batch nor on threads, and backward draws the same mask again instead of keeping it.
#pragma once

#include <cstdint>
#include <vector>

namespace fltac {

// One row of an activation as its job sees it.
struct RowKey {
  uint64_t stream;  // the job's stream key
  uint32_t row;     // index of the row among the job's own rows of this step
};

// 16-bit words are drawn in chunks of this many; a buffer for n words needs padded_words(n) places.
constexpr int64_t kPhiloxChunk = 128;

constexpr int64_t padded_words(int64_t n) { return (n + kPhiloxChunk - 1) / kPhiloxChunk * kPhiloxChunk; }

// Fills out[0, padded_words(n)) with uniform 16-bit words.
void philox_words(RowKey key, uint32_t step, uint32_t site, int64_t n, uint16_t* out);

// Fills out[0, n) with uniform doubles in (0, 1), 52 random bits each.
void philox_doubles(uint64_t stream, uint32_t site, int64_t n, double* out);

// A dropout probability rounded to 1/65536, as the 16-bit words can tell it apart; `scale` makes it unbiased.
struct Dropout {
  explicit Dropout(double p);
  bool active() const { return threshold > 0; }

  uint32_t threshold;  // a word below this drops its value
  float scale;         // 1 / (1 - threshold / 65536)
};

}  // namespace fltac
