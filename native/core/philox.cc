#include "core/philox.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/lanes.h"
#if FLTAC_X86
#include <immintrin.h>
#endif

namespace fltac {
namespace {

static_assert(std::endian::native == std::endian::little, "words are drawn two at a time");

constexpr int kLanes = 16;
constexpr int kRounds = 10;

#if defined(__GNUC__) && !defined(__clang__)
// Vectors wider than the baseline's stay within functions that are inlined into one another. And GCC 12 takes
// the initial values below for missing.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// The products of the lower halves of a's values with m, which is below 2^32.
template <int W>
__attribute__((always_inline)) inline void multiply(const Lanes<uint64_t, W>& a, uint64_t m,
                                                    Lanes<uint64_t, W>& out) {
#if FLTAC_X86
  // One instruction; compilers make three multiplications of the general form.
  if constexpr (W >= 4) {
    using Words = Lanes<int32_t, 2 * W>;
    const Lanes<uint64_t, W> factor = Lanes<uint64_t, W>{} + m;
    if constexpr (W == 4) {
      out = (Lanes<uint64_t, W>)__builtin_ia32_pmuludq256((Words)a, (Words)factor);
    } else {
#if defined(__clang__)
      out = (Lanes<uint64_t, W>)__builtin_ia32_pmuludq512((Words)a, (Words)factor);
#else
      out = (Lanes<uint64_t, W>)__builtin_ia32_pmuludq512_mask((Words)a, (Words)factor, Lanes<long long, W>{},
                                                               0xFF);
#endif
    }
    return;
  }
#endif
  out = (a & 0xFFFFFFFF) * m;
}

// Runs the rounds on 16 counters, lane l having the block number first + l; out gets 4 x 16 words of 32 bits.
// A value lies in the lower half of 64 bits, where products want it; what is above is left over from them.
template <int W>
__attribute__((always_inline)) inline void philox_lanes(uint64_t stream, uint32_t first, uint32_t c1,
                                                        uint32_t c2, uint32_t c3, uint32_t* out) {
  using Values = Lanes<uint64_t, W>;
  constexpr int kPair = 2;  // even lanes, odd lanes: as many as registers hold
  for (int lane = 0; lane < kLanes; lane += kPair * W) {
    Values even = {}, odd = {};
    for (int l = 0; l < W; ++l) {
      even[l] = first + static_cast<uint32_t>(lane + kPair * l);
      odd[l] = even[l] + 1;
    }
    const Values zero = {};
    Values x[4][kPair] = {
        {even, odd}, {zero + c1, zero + c1}, {zero + c2, zero + c2}, {zero + c3, zero + c3}};
    auto k0 = static_cast<uint32_t>(stream);
    auto k1 = static_cast<uint32_t>(stream >> 32);
    for (int round = 0; round < kRounds; ++round) {
      for (int p = 0; p < kPair; ++p) {
        Values a, b;
        multiply<W>(x[0][p], 0xD2511F53, a);
        multiply<W>(x[2][p], 0xCD9E8D57, b);
        x[0][p] = (b >> 32) ^ x[1][p] ^ uint64_t { k0 };
        x[2][p] = (a >> 32) ^ x[3][p] ^ uint64_t { k1 };
        x[1][p] = b;
        x[3][p] = a;
      }
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    for (int part = 0; part < 4; ++part) {
      // Little-endian: the even lane's word comes first.
      const Values both = (x[part][0] & 0xFFFFFFFF) | (x[part][1] << 32);
      std::memcpy(out + part * kLanes + lane, &both, sizeof both);
    }
  }
}

struct Request {
  RowKey key;
  uint32_t step, site;
};

template <int W>
__attribute__((always_inline)) inline void fill(const Request& of, int64_t n, uint16_t* out) {
  uint32_t words[4 * kLanes];
  for (int64_t at = 0; at < n; at += kPhiloxChunk) {
    const auto first = static_cast<uint32_t>(at / kPhiloxChunk * kLanes);
    philox_lanes<W>(of.key.stream, first, of.key.row, of.site, of.step, words);
    std::memcpy(out + at, words, sizeof words);
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void fill_plain(const Request& of, int64_t n, uint16_t* out) { fill<2>(of, n, out); }
#if FLTAC_X86
FLTAC_TARGET_AVX2 void fill_avx2(const Request& of, int64_t n, uint16_t* out) { fill<4>(of, n, out); }
FLTAC_TARGET_AVX512 void fill_avx512(const Request& of, int64_t n, uint16_t* out) { fill<8>(of, n, out); }
#endif

}  // namespace

void philox_words(RowKey key, uint32_t step, uint32_t site, int64_t n, uint16_t* out) {
  switch (vector_bytes()) {
#if FLTAC_X86
    case VectorBytes::k64:
      return fill_avx512({key, step, site}, n, out);
    case VectorBytes::k32:
      return fill_avx2({key, step, site}, n, out);
#endif
    default:
      return fill_plain({key, step, site}, n, out);
  }
}

void philox_doubles(uint64_t stream, uint32_t site, int64_t n, double* out) {
  constexpr int kPairs = 2 * kLanes;
  uint32_t words[4 * kLanes];
  for (int64_t at = 0; at < n; at += kPairs) {
    philox_lanes<2>(stream, static_cast<uint32_t>(at / kPairs * kLanes), 0, site, 0xFFFFFFFF, words);
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
