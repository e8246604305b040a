// The arithmetic of core/philox.h one lane at a time, for code that is also compiled for CUDA devices.
// Includes no libtorch header.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FLTAC_HOST_DEVICE __host__ __device__
#else
#define FLTAC_HOST_DEVICE
#endif

namespace fltac {

// philox_words fills chunks of 128 words from 16 lanes; lane l of chunk c has the counter 16 c + l and gives
// four 32-bit values, each of two words.
constexpr int kLanesPerChunk = 16;
constexpr int kWordsPerChunk = 128;

FLTAC_HOST_DEVICE inline void philox_lane(uint64_t stream, uint32_t counter, uint32_t row, uint32_t site,
                                          uint32_t step, uint32_t out[4]) {
  uint32_t x0 = counter, x1 = row, x2 = site, x3 = step;
  uint32_t k0 = static_cast<uint32_t>(stream), k1 = static_cast<uint32_t>(stream >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x0;
    const uint64_t b = uint64_t{0xCD9E8D57} * x2;
    x0 = static_cast<uint32_t>(b >> 32) ^ x1 ^ k0;
    x2 = static_cast<uint32_t>(a >> 32) ^ x3 ^ k1;
    x1 = static_cast<uint32_t>(b);
    x3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

// Where the low word of value `part` (0 to 3) of a lane lies in its chunk; the high word follows.
FLTAC_HOST_DEVICE inline int philox_place(int lane, int part) { return 2 * (part * kLanesPerChunk + lane); }

}  // namespace fltac
