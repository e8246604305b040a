#include "archive/zip_writer.h"

#include <algorithm>

#include "archive/crc32.h"
#include "archive/zip_format.h"

namespace fltac {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint16_t kVersion = 20;    // needed to extract: plain
constexpr uint16_t kVersion64 = 45;  // with 64-bit fields
constexpr uint16_t kDate = 0x0021;   // 1980-01-01, the earliest there is

// Little-endian fields, one after another.
class Fields {
 public:
  Fields& u16(uint64_t v) { return put(v, 2); }
  Fields& u32(uint64_t v) { return put(v, 4); }
  Fields& u64(uint64_t v) { return put(v, 8); }
  Fields& text(const std::string& s) {
    bytes_ += s;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Fields& put(uint64_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_.push_back(static_cast<char>(v >> (8 * i)));
    return *this;
  }
  std::string bytes_;
};

bool needs_64(uint64_t value) { return value >= zip::kIn64; }
uint64_t short_form(uint64_t value) { return std::min<uint64_t>(value, zip::kIn64); }

// The 64-bit extra field for those of `values` that need it; empty if none does.
std::string extra_64(std::initializer_list<uint64_t> values) {
  Fields content;
  for (const uint64_t value : values) {
    if (needs_64(value)) content.u64(value);
  }
  if (content.bytes().empty()) return {};
  return Fields().u16(zip::kExtra64).u16(content.bytes().size()).text(content.bytes()).bytes();
}

}  // namespace

void ZipWriter::add(const std::string& name, std::span<const std::byte> content) {
  const Entry entry{name, crc32(content), content.size(), file_.written()};
  const std::string sizes = extra_64({entry.size, entry.size});
  constexpr uint64_t kExtraHead = 4;
  const uint64_t start = entry.offset + zip::kLocalHeaderSize + name.size() + sizes.size() + kExtraHead;
  const std::string padding((kAlignment - start % kAlignment) % kAlignment, '\0');
  Fields header;
  header.u32(zip::kLocalHeader).u16(sizes.empty() ? kVersion : kVersion64).u16(zip::kFlagUtf8);
  header.u16(0).u16(0).u16(kDate).u32(entry.crc);  // method "stored", time, date
  header.u32(short_form(entry.size)).u32(short_form(entry.size));
  header.u16(name.size()).u16(sizes.size() + kExtraHead + padding.size()).text(name).text(sizes);
  header.u16(zip::kExtraPadding).u16(padding.size()).text(padding);
  file_.write(header.bytes());
  file_.write(content);
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const uint64_t start = file_.written();
  for (const Entry& entry : entries_) {
    const std::string extra = extra_64({entry.size, entry.size, entry.offset});
    Fields header;
    header.u32(zip::kCentralHeader)
        .u16(kVersion64)
        .u16(extra.empty() ? kVersion : kVersion64)
        .u16(zip::kFlagUtf8);
    header.u16(0).u16(0).u16(kDate).u32(entry.crc);
    header.u32(short_form(entry.size)).u32(short_form(entry.size)).u16(entry.name.size()).u16(extra.size());
    header.u16(0).u16(0).u16(0).u32(0);  // comment, disk, attributes
    header.u32(short_form(entry.offset)).text(entry.name).text(extra);
    file_.write(header.bytes());
  }
  const uint64_t end = file_.written(), count = entries_.size();
  Fields tail;
  if (needs_64(end) || count >= zip::kIn64Short) {
    constexpr uint64_t kLead = 12;  // the record's size leaves its signature and itself out
    tail.u32(zip::kEnd64).u64(zip::kEnd64Size - kLead).u16(kVersion64).u16(kVersion64).u32(0).u32(0);
    tail.u64(count).u64(count).u64(end - start).u64(start);
    tail.u32(zip::kEnd64Locator).u32(0).u64(end).u32(1);
  }
  const uint64_t short_count = std::min<uint64_t>(count, zip::kIn64Short);
  tail.u32(zip::kEnd).u16(0).u16(0).u16(short_count).u16(short_count);
  tail.u32(short_form(end - start)).u32(short_form(start)).u16(0);
  file_.write(tail.bytes());
  file_.commit();
}

}  // namespace fltac
