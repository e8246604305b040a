// A ZIP file of stored entries put together field by field, so that each can be made wrong.
#pragma once

#include <string>
#include <vector>

#include "archive/crc32.h"
#include "archive/zip_format.h"
#include "fuzz/draws.h"

namespace fltac::fuzz {

struct ZipPart {
  std::string name;
  std::string content;
};

class ZipImage {
 public:
  // With `wide`, the 64-bit end record that PyTorch always writes.
  ZipImage(const std::vector<ZipPart>& parts, bool wide) {
    std::vector<size_t> headers;
    for (const ZipPart& part : parts) {
      headers.push_back(bytes_.size());
      field(zip::kLocalHeader, 4);
      for (const int width : {2, 2, 2, 2, 2}) field(0, width);  // version, flags, method, time, date
      common(part);
      field(part.name.size(), 2);
      field(0, 2);
      bytes_ += part.name + part.content;
    }
    directory(parts, headers, wide);
  }

  // The bytes, with up to `wrong` fields given other values.
  std::string bytes(Draws& draws, size_t wrong) const {
    std::string result = bytes_;
    for (; wrong > 0; --wrong) {
      const Field& chosen = draws.of(fields_);
      uint64_t present = 0;
      for (int i = 0; i < chosen.width; ++i) {
        present |= uint64_t{static_cast<uint8_t>(result[chosen.at + static_cast<size_t>(i)])} << (8 * i);
      }
      const uint64_t value = telling_number(draws, present);
      for (int i = 0; i < chosen.width; ++i) {
        result[chosen.at + static_cast<size_t>(i)] = static_cast<char>(value >> (8 * i));
      }
    }
    return result;
  }

 private:
  struct Field {
    size_t at;
    int width;
  };

  void field(uint64_t value, int width) {
    fields_.push_back({bytes_.size(), width});
    for (int i = 0; i < width; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
  }

  void common(const ZipPart& part) {
    field(crc32(std::as_bytes(std::span(part.content))), 4);
    field(part.content.size(), 4);
    field(part.content.size(), 4);
  }

  void directory(const std::vector<ZipPart>& parts, const std::vector<size_t>& headers, bool wide) {
    const size_t start = bytes_.size();
    for (size_t i = 0; i < parts.size(); ++i) {
      field(zip::kCentralHeader, 4);
      for (const int width : {2, 2, 2, 2, 2, 2}) field(0, width);
      common(parts[i]);
      field(parts[i].name.size(), 2);
      for (const int width : {2, 2, 2, 2, 4}) field(0, width);  // extra, comment, disk, attributes
      field(headers[i], 4);
      bytes_ += parts[i].name;
    }
    const size_t end = bytes_.size();
    if (wide) {
      field(zip::kEnd64, 4);
      field(zip::kEnd64Size - 12, 8);
      for (const int width : {2, 2, 4, 4}) field(0, width);
      field(parts.size(), 8);
      field(parts.size(), 8);
      field(end - start, 8);
      field(start, 8);
      field(zip::kEnd64Locator, 4);
      field(0, 4);
      field(end, 8);
      field(1, 4);
    }
    field(zip::kEnd, 4);
    field(0, 2);
    field(0, 2);
    field(parts.size(), 2);
    field(parts.size(), 2);
    field(end - start, 4);
    field(start, 4);
    field(0, 2);
  }

  std::string bytes_;
  std::vector<Field> fields_;
};

}  // namespace fltac::fuzz
