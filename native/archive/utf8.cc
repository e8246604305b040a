#include "archive/utf8.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace fltac {
namespace {

// A row of table 3-7 of the Unicode standard: lead bytes, the range of the second byte, and the sequence's
// length.
struct Sequence {
  uint8_t first_low, first_high, second_low, second_high;
  size_t length;
};

constexpr std::array kSequences = {
    Sequence{0x00, 0x7f, 0x80, 0xbf, 1}, Sequence{0xc2, 0xdf, 0x80, 0xbf, 2},
    Sequence{0xe0, 0xe0, 0xa0, 0xbf, 3}, Sequence{0xe1, 0xec, 0x80, 0xbf, 3},
    Sequence{0xed, 0xed, 0x80, 0x9f, 3}, Sequence{0xee, 0xef, 0x80, 0xbf, 3},
    Sequence{0xf0, 0xf0, 0x90, 0xbf, 4}, Sequence{0xf1, 0xf3, 0x80, 0xbf, 4},
    Sequence{0xf4, 0xf4, 0x80, 0x8f, 4},
};

// Length of the sequence that `text` starts with; 0 if it starts with none.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  for (const Sequence& row : kSequences) {
    if (byte(0) < row.first_low || byte(0) > row.first_high) continue;
    if (text.size() < row.length) return 0;
    if (row.length > 1 && (byte(1) < row.second_low || byte(1) > row.second_high)) return 0;
    for (size_t i = 2; i < row.length; ++i) {
      if ((byte(i) & 0xc0) != 0x80) return 0;
    }
    return row.length;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace fltac
