// The opcodes of Python's pickle, protocol 2, that torch.save writes (names as in CPython's Lib/pickle.py).
#pragma once

#include <cstdint>

namespace fltac {

enum class Opcode : uint8_t {
  Proto = 0x80,
  Stop = '.',
  Mark = '(',
  None = 'N',
  NewTrue = 0x88,
  NewFalse = 0x89,
  BinInt = 'J',
  BinInt1 = 'K',
  BinInt2 = 'M',
  Long1 = 0x8a,
  BinFloat = 'G',
  BinUnicode = 'X',
  EmptyList = ']',
  Append = 'a',
  Appends = 'e',
  EmptyDict = '}',
  SetItem = 's',
  SetItems = 'u',
  EmptyTuple = ')',
  Tuple = 't',
  Tuple1 = 0x85,
  Tuple2 = 0x86,
  Tuple3 = 0x87,
  BinPut = 'q',
  LongBinPut = 'r',
  BinGet = 'h',
  LongBinGet = 'j',
  Global = 'c',
  Reduce = 'R',
  Build = 'b',
  BinPersId = 'Q',
};

constexpr uint8_t kPickleProtocol = 2;

}  // namespace fltac
