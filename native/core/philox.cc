#include "core/philox.h"

#include <cmath>

#include "core/clones.h"
#include "core/error.h"

namespace fltac {
namespace {

constexpr int kLanes = 16;
constexpr int kRounds = 10;

// Runs the rounds on 16 counters at once, lane l having the block number first + l; out gets 4 x 16 words of
// 32 bits.
FLTAC_CLONES void philox_lanes(uint64_t stream, uint32_t first, uint32_t c1, uint32_t c2, uint32_t c3,
                               uint32_t* out) {
  uint32_t x0[kLanes], x1[kLanes], x2[kLanes], x3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    x0[l] = first + static_cast<uint32_t>(l);
    x1[l] = c1;
    x2[l] = c2;
    x3[l] = c3;
  }
  auto k0 = static_cast<uint32_t>(stream);
  auto k1 = static_cast<uint32_t>(stream >> 32);
  for (int round = 0; round < kRounds; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t a = uint64_t{0xD2511F53} * x0[l];
      const uint64_t b = uint64_t{0xCD9E8D57} * x2[l];
      x0[l] = static_cast<uint32_t>(b >> 32) ^ x1[l] ^ k0;
      x2[l] = static_cast<uint32_t>(a >> 32) ^ x3[l] ^ k1;
      x1[l] = static_cast<uint32_t>(b);
      x3[l] = static_cast<uint32_t>(a);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int l = 0; l < kLanes; ++l) {
    out[l] = x0[l];
    out[kLanes + l] = x1[l];
    out[2 * kLanes + l] = x2[l];
    out[3 * kLanes + l] = x3[l];
  }
}

}  // namespace

void philox_words(RowKey key, uint32_t step, uint32_t site, int64_t n, uint16_t* out) {
  uint32_t words[4 * kLanes];
  for (int64_t at = 0; at < n; at += kPhiloxChunk) {
    const auto first = static_cast<uint32_t>(at / kPhiloxChunk * kLanes);
    philox_lanes(key.stream, first, key.row, site, step, words);
    for (int i = 0; i < 4 * kLanes; ++i) {
      out[at + 2 * i] = static_cast<uint16_t>(words[i]);
      out[at + 2 * i + 1] = static_cast<uint16_t>(words[i] >> 16);
    }
  }
}

void philox_doubles(uint64_t stream, uint32_t site, int64_t n, double* out) {
  constexpr int kPairs = 2 * kLanes;
  uint32_t words[4 * kLanes];
  for (int64_t at = 0; at < n; at += kPairs) {
    philox_lanes(stream, static_cast<uint32_t>(at / kPairs * kLanes), 0, site, 0xFFFFFFFF, words);
    for (int i = 0; i < kPairs && at + i < n; ++i) {
      const uint64_t bits = (uint64_t{words[2 * i]} << 32 | words[2 * i + 1]) >> 12;
      out[at + i] = (static_cast<double>(bits) + 0.5) * 0x1p-52;
    }
  }
}

Dropout::Dropout(double p) : threshold(0), scale(1.0f) {
  if (!(p >= 0.0 && p < 1.0)) fail(ErrorCode::Usage, "a dropout probability lies in [0, 1), found ", p);
  threshold = static_cast<uint32_t>(std::lround(p * 65536.0));
  if (threshold == 65536) threshold = 65535;
  scale = static_cast<float>(65536.0 / (65536.0 - threshold));
}

}  // namespace fltac
