// The random choices of a mutated input.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace fltac::fuzz {

// A stream of choices that is the same on every machine (the standard fixes mt19937_64's numbers).
class Draws {
 public:
  explicit Draws(uint64_t seed) : bits_(seed) {}

  uint64_t any() { return bits_(); }
  // A number below n; n is at least 1.
  size_t below(size_t n) { return static_cast<size_t>(bits_() % n); }
  bool one_in(size_t n) { return below(n) == 0; }

  template <typename T>
  const T& of(std::span<const T> choices) {
    return choices[below(choices.size())];
  }
  template <typename T>
  const T& of(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }

 private:
  std::mt19937_64 bits_;
};

// Numbers that arithmetic on lengths, offsets and counts goes wrong at, and the neighbours of the one that
// stands there.
inline uint64_t telling_number(Draws& draws, uint64_t present) {
  static const std::vector<uint64_t> numbers = {
      0,          1,          2,          7,          8,          63,         64,
      127,        128,        255,        256,        0x7FFF,     0x8000,     0xFFFF,
      0x10000,    100000000,  0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ULL << 32, 1ULL << 53,
      1ULL << 61, 1ULL << 62, ~0ULL >> 1, 1ULL << 63, ~0ULL - 7,  ~0ULL};
  switch (draws.below(4)) {
    case 0:
      return present + draws.below(17) - 8;
    case 1:
      return present * (2 + draws.below(8));
    default:
      return draws.of(numbers);
  }
}

// Plain damage: one to three bytes changed, bytes taken out or put in, the end cut off.
inline void damage_bytes(Draws& draws, std::string& bytes) {
  if (bytes.empty()) return;
  const size_t at = draws.below(bytes.size());
  switch (draws.below(5)) {
    case 0:
      bytes.resize(at);
      return;
    case 1:
      bytes.erase(at, 1 + draws.below(8));
      return;
    case 2:
      bytes.insert(at, bytes.substr(draws.below(bytes.size()), 1 + draws.below(16)));
      return;
    default:
      for (size_t left = 1 + draws.below(3); left > 0; --left) {
        bytes[draws.below(bytes.size())] = static_cast<char>(draws.any());
      }
  }
}

}  // namespace fltac::fuzz
