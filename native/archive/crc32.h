#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fltac {

// CRC-32 as ZIP has it (polynomial 0xEDB88320, reflected).
uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace fltac
