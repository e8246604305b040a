#include "archive/zip_reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "archive/crc32.h"
#include "archive/zip_format.h"
#include "core/error.h"

namespace fltac {
namespace {

// The central directory: where it lies and how many entries it lists.
struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t count = 0;
};

class DirectoryReader {
 public:
  explicit DirectoryReader(const MappedFile& file) : file_(file), bytes_(file.bytes()) {}

  std::map<std::string, ZipReader::Entry> read() {
    directory_ = find_directory();
    if (directory_.count > directory_.size / zip::kCentralHeaderSize) {
      bad(directory_.offset, "the directory cannot hold ", directory_.count, " entries in ", directory_.size,
          " bytes");
    }
    std::map<std::string, ZipReader::Entry> entries;
    uint64_t at = directory_.offset;
    for (uint64_t i = 0; i < directory_.count; ++i) {
      const uint64_t start = at;
      auto [name, entry] = read_central(at);
      if (!entries.emplace(name, entry).second) bad(start, "entry \"", name, "\" is there twice");
    }
    if (at != directory_.offset + directory_.size) bad(at, "the directory does not end with its last entry");
    check_overlaps(entries);
    return entries;
  }

 private:
  template <typename... Parts>
  [[noreturn]] void bad(uint64_t offset, const Parts&... parts) const {
    fail(ErrorCode::Format, file_.path(), ": offset ", offset, ": ", parts...);
  }

  // A little-endian number of `length` bytes.
  uint64_t number(uint64_t offset, uint64_t length) const {
    if (offset > bytes_.size() || length > bytes_.size() - offset) {
      bad(offset, "the file ends within a ZIP record: it is cut short or damaged");
    }
    uint64_t value = 0;
    for (uint64_t i = 0; i < length; ++i) value |= static_cast<uint64_t>(bytes_[offset + i]) << (8 * i);
    return value;
  }
  uint64_t u16(uint64_t offset) const { return number(offset, 2); }
  uint64_t u32(uint64_t offset) const { return number(offset, 4); }
  uint64_t u64(uint64_t offset) const { return number(offset, 8); }

  std::string text(uint64_t offset, uint64_t length) const {
    if (offset > bytes_.size() || length > bytes_.size() - offset)
      bad(offset, "a name reaches beyond the file");
    return {reinterpret_cast<const char*>(bytes_.data()) + offset, length};
  }

  uint64_t find_end() const {
    constexpr uint64_t kLongestComment = 0xFFFF;
    const uint64_t size = bytes_.size();
    for (uint64_t back = zip::kEndSize; back <= std::min(size, zip::kEndSize + kLongestComment); ++back) {
      const uint64_t at = size - back;
      if (u32(at) == zip::kEnd && u16(at + 20) == back - zip::kEndSize) return at;
    }
    bad(size, "no end of a ZIP directory: not a file of torch.save (PyTorch 1.6 or later), or cut short");
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    if (u16(end + 4) != 0 || u16(end + 6) != 0) bad(end, "the ZIP file is one of several parts");
    Directory directory{u32(end + 16), u32(end + 12), u16(end + 10)};
    if (u16(end + 8) != directory.count) bad(end, "the ZIP file is one of several parts");
    uint64_t reached = end;
    const bool needed =
        directory.offset == zip::kIn64 || directory.size == zip::kIn64 || directory.count == zip::kIn64Short;
    // PyTorch writes the 64-bit record whether it is needed or not.
    const bool located =
        end >= zip::kEnd64LocatorSize && u32(end - zip::kEnd64LocatorSize) == zip::kEnd64Locator;
    if (needed && !located) bad(end, "no 64-bit end record where one is needed");
    if (located) reached = read_end_64(end, directory);
    if (directory.offset > reached || directory.size != reached - directory.offset) {
      bad(end, "the directory is said to take ", directory.size, " bytes from offset ", directory.offset,
          ", which is not what precedes this record");
    }
    return directory;
  }

  // Replaces the directory by what the 64-bit end record says; the record's offset.
  uint64_t read_end_64(uint64_t end, Directory& directory) const {
    const uint64_t at = u64(end - zip::kEnd64LocatorSize + 8);
    if (at > end || end - at != zip::kEnd64Size + zip::kEnd64LocatorSize || u32(at) != zip::kEnd64) {
      bad(end - zip::kEnd64LocatorSize, "no 64-bit end record at offset ", at, ", where it is said to be");
    }
    if (u64(at + 24) != u64(at + 32)) bad(at, "the ZIP file is one of several parts");
    directory = {u64(at + 48), u64(at + 40), u64(at + 32)};
    return at;
  }

  // Reads the entry at `at` and moves `at` behind it.
  std::pair<std::string, ZipReader::Entry> read_central(uint64_t& at) const {
    if (u32(at) != zip::kCentralHeader) bad(at, "expected a directory entry");
    const uint64_t flags = u16(at + 8), method = u16(at + 10);
    const uint64_t name_size = u16(at + 28), extra_size = u16(at + 30), comment_size = u16(at + 32);
    const std::string name = text(at + zip::kCentralHeaderSize, name_size);
    uint64_t packed = u32(at + 20);
    ZipReader::Entry entry;
    entry.crc = static_cast<uint32_t>(u32(at + 16));
    entry.size = u32(at + 24);
    entry.header = u32(at + 42);
    if ((flags & zip::kFlagEncrypted) != 0) bad(at, "entry \"", name, "\" is encrypted");
    if (method != 0) bad(at, "entry \"", name, "\" is compressed; torch.save stores plainly");
    read_extra_64(at + zip::kCentralHeaderSize + name_size, extra_size,
                  {&entry.size, &packed, &entry.header});
    if (packed != entry.size) bad(at, "entry \"", name, "\" is stored, but has two sizes");
    entry.offset = content_offset(name, entry);
    at += zip::kCentralHeaderSize + name_size + extra_size + comment_size;
    return {name, entry};
  }

  // Fills those of `fields` that stand for 64-bit values from the extra field, in this order.
  void read_extra_64(uint64_t at, uint64_t size, std::initializer_list<uint64_t*> fields) const {
    const uint64_t end = at + size;
    while (at + 4 <= end && u16(at) != zip::kExtra64) at += 4 + u16(at + 2);
    const bool found = at + 4 <= end && u16(at + 2) <= end - at - 4;
    const uint64_t last = found ? at + 4 + u16(at + 2) : at;
    at += 4;
    for (uint64_t* field : fields) {
      if (*field != zip::kIn64) continue;
      if (!found || at + 8 > last) bad(at, "a 64-bit size or offset is missing");
      *field = u64(at);
      at += 8;
    }
  }

  // Checks the local header of an entry; the offset of its content.
  uint64_t content_offset(const std::string& name, const ZipReader::Entry& entry) const {
    const uint64_t at = entry.header;
    if (at >= directory_.offset || u32(at) != zip::kLocalHeader)
      bad(at, "entry \"", name, "\" has no header here");
    const uint64_t name_size = u16(at + 26), extra_size = u16(at + 28);
    const uint64_t content = at + zip::kLocalHeaderSize + name_size + extra_size;
    if (content > directory_.offset || entry.size > directory_.offset - content) {
      bad(at, "entry \"", name, "\" of ", entry.size, " bytes reaches beyond the file's data");
    }
    if (text(at + zip::kLocalHeaderSize, name_size) != name || u16(at + 8) != 0) {
      bad(at, "the header of entry \"", name, "\" does not agree with the directory");
    }
    return content;
  }

  void check_overlaps(const std::map<std::string, ZipReader::Entry>& entries) const {
    std::vector<ZipReader::Entry> order;
    for (const auto& item : entries) order.push_back(item.second);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.header < b.header; });
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i].header < order[i - 1].offset + order[i - 1].size) {
        bad(order[i].header, "two entries share the bytes from here");
      }
    }
  }

  const MappedFile& file_;
  std::span<const std::byte> bytes_;
  Directory directory_;
};

}  // namespace

ZipReader::ZipReader(std::shared_ptr<const MappedFile> file)
    : file_(std::move(file)), entries_(DirectoryReader(*file_).read()) {}

std::span<const std::byte> ZipReader::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(ErrorCode::Format, file_->path(), ": offset 0: no entry \"", name, "\"");
  const Entry& entry = found->second;
  const auto content = file_->bytes().subspan(entry.offset, entry.size);
  const uint32_t crc = crc32(content);
  if (crc != entry.crc) {
    fail(ErrorCode::Format, file_->path(), ": offset ", entry.offset, ": entry \"", name,
         "\" is damaged: its CRC is ", crc, ", expected ", entry.crc);
  }
  return content;
}

}  // namespace fltac
