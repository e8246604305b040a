// The parts of the ZIP format that torch archives use (PKWARE APPNOTE 6.3.9): entries stored without
// compression, with 64-bit sizes where 32 bits are too few.
#pragma once

#include <cstdint>

namespace fltac::zip {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;

// Sizes in bytes without names, extra fields and comments.
constexpr uint64_t kLocalHeaderSize = 30;
constexpr uint64_t kCentralHeaderSize = 46;
constexpr uint64_t kEndSize = 22;
constexpr uint64_t kEnd64Size = 56;
constexpr uint64_t kEnd64LocatorSize = 20;

constexpr uint16_t kExtra64 = 0x0001;       // extra field with 64-bit sizes and offset
constexpr uint16_t kExtraPadding = 0x4246;  // "FB", PyTorch's padding

// A field that holds its largest value stands for one in the 64-bit extra field or end record.
constexpr uint16_t kIn64Short = 0xFFFF;
constexpr uint32_t kIn64 = 0xFFFFFFFF;

constexpr uint16_t kFlagEncrypted = 1 << 0;
constexpr uint16_t kFlagUtf8 = 1 << 11;

}  // namespace fltac::zip
