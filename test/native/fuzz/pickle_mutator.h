// Damages a pickle opcode by opcode: arguments, order, references, and names that are to be refused.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "archive/pickle_opcodes.h"
#include "fuzz/draws.h"

namespace fltac::fuzz {

class PickleMutator {
 public:
  static std::string mutate(Draws& draws, const std::string& pickle) {
    std::vector<std::string> steps = steps_of(pickle);
    for (size_t left = 1 + draws.below(4); left > 0 && !steps.empty(); --left) change(draws, steps);
    std::string result;
    for (const std::string& step : steps) result += step;
    if (draws.one_in(12)) damage_bytes(draws, result);
    return result;
  }

 private:
  // Bytes after the opcode; a text's length field is counted by `length_width`, its content comes on top.
  struct Shape {
    Opcode code;
    size_t fixed;
    size_t length_width;
  };
  static constexpr std::array kShapes = {
      Shape{Opcode::Proto, 1, 0},      Shape{Opcode::BinInt, 4, 0},     Shape{Opcode::BinInt1, 1, 0},
      Shape{Opcode::BinInt2, 2, 0},    Shape{Opcode::Long1, 0, 1},      Shape{Opcode::BinFloat, 8, 0},
      Shape{Opcode::BinUnicode, 0, 4}, Shape{Opcode::BinPut, 1, 0},     Shape{Opcode::LongBinPut, 4, 0},
      Shape{Opcode::BinGet, 1, 0},     Shape{Opcode::LongBinGet, 4, 0},
  };

  static const Shape* shape_of(char code) {
    const auto* found = std::find_if(kShapes.begin(), kShapes.end(), [&](const Shape& shape) {
      return static_cast<char>(shape.code) == code;
    });
    return found == kShapes.end() ? nullptr : found;
  }

  static uint64_t number(const std::string& bytes, size_t at, size_t width) {
    // An argument that earlier damage cut short counts as none.
    if (at + width > bytes.size()) return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) value |= uint64_t{static_cast<uint8_t>(bytes.at(at + i))} << (8 * i);
    return value;
  }

  static std::vector<std::string> steps_of(const std::string& pickle) {
    std::vector<std::string> steps;
    for (size_t at = 0; at < pickle.size();) {
      size_t size = 1;
      if (pickle[at] == static_cast<char>(Opcode::Global)) {
        size = pickle.find('\n', pickle.find('\n', at) + 1) + 1 - at;
      } else if (const Shape* shape = shape_of(pickle[at])) {
        size += shape->fixed + shape->length_width;
        if (shape->length_width > 0) size += number(pickle, at + 1, shape->length_width);
      }
      steps.push_back(pickle.substr(at, size));
      at += size;
    }
    return steps;
  }

  static void change(Draws& draws, std::vector<std::string>& steps) {
    const size_t at = draws.below(steps.size());
    const auto place = steps.begin() + static_cast<ptrdiff_t>(at);
    switch (draws.below(9)) {
      case 0:
        steps.erase(place);
        return;
      case 1:
        steps.insert(place, draws.of(steps));
        return;
      case 2:
        std::swap(steps[at], steps[draws.below(steps.size())]);
        return;
      case 3:
        steps.insert(place, foreign_step(draws));
        return;
      case 4:
        if (draws.one_in(2))
          steps[at] = bomb(draws);
        else
          steps.insert(place, bomb(draws));
        return;
      default:
        change_argument(draws, steps[at]);
    }
  }

  static std::string foreign_step(Draws& draws) {
    static const std::vector<std::string> steps = {"cos\nsystem\n",
                                                   "cbuiltins\neval\n",
                                                   "c__builtin__\nexec\n",
                                                   "ctorch._utils\n_rebuild_tensor_v2\n",
                                                   "ctorch\nBoolStorage\n",
                                                   "ctorch\nQInt8Storage\n",
                                                   "ccollections\nOrderedDict\n",
                                                   "R",
                                                   "b",
                                                   "o",
                                                   "ios\nsystem\n",
                                                   "\x81",
                                                   "\x95\x10\x00\x00\x00\x00\x00\x00\x00",
                                                   "0",
                                                   "2",
                                                   "(",
                                                   "1",
                                                   "Vtext\n",
                                                   "Q",
                                                   "P1\n",
                                                   "\x8a\xff",
                                                   "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
                                                   "\x8a\x09\x00",
                                                   "J\xff\xff\xff\xff",
                                                   "J\xff\xff\xff\x7f",
                                                   "G\x7f\xf0\x00\x00\x00\x00\x00\x00",
                                                   "X\xff\xff\xff\xff",
                                                   "X\x02\x00\x00\x00\xc3\x28",
                                                   ".",
                                                   "N",
                                                   "\x88",
                                                   "]",
                                                   "}",
                                                   ")",
                                                   "t",
                                                   "a",
                                                   "e",
                                                   "s",
                                                   "u",
                                                   "\x85",
                                                   "\x86",
                                                   "\x87",
                                                   "\x80\x04",
                                                   std::string("K\0", 2)};
    return draws.of(steps);
  }

  // One value: a list that holds itself, or one of pairs of pairs that would be 2^n values were they written
  // out.
  static std::string bomb(Draws& draws) {
    if (draws.one_in(3))
      return "]q\xf0h\xf0"
             "a";
    std::string text = "](]q\xf1";
    for (size_t left = 1 + draws.below(64); left > 0; --left) text += "h\xf1h\xf1\x86q\xf1";
    return text + "e";
  }

  static void change_argument(Draws& draws, std::string& step) {
    if (step.size() < 2) {
      step[0] = static_cast<char>(draws.any());
      return;
    }
    const Shape* shape = shape_of(step[0]);
    const size_t width = shape == nullptr ? 0 : std::max(shape->fixed, shape->length_width);
    if (width == 0 || draws.one_in(4)) {
      step[1 + draws.below(step.size() - 1)] = static_cast<char>(draws.any());
      return;
    }
    const uint64_t value = telling_number(draws, number(step, 1, width));
    for (size_t i = 0; i < width; ++i) step[1 + i] = static_cast<char>(value >> (8 * i));
  }
};

}  // namespace fltac::fuzz
