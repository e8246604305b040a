#include "archive/pt_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "archive/pickle_reader.h"
#include "archive/zip_reader.h"
#include "core/error.h"

namespace fltac {
namespace {

static_assert(std::endian::native == std::endian::little, "storages are copied as they are");

constexpr int kNewestVersion = 10;  // torch::serialize kMaxSupportedFileFormatVersion

// Tensors may share storages; all together they may take this many times the file's size.
constexpr uint64_t kMaxSharing = 16;

class PtReader {
 public:
  explicit PtReader(const std::string& path) : zip_(std::make_shared<const MappedFile>(path)) {}

  ArchiveValue read() {
    root_ = find_root();
    check_format();
    const std::string pickle = root_ + "data.pkl";
    PickleSource source;
    source.bytes = zip_.read(pickle);
    source.path = zip_.file().path();
    source.offset = zip_.entries().at(pickle).offset;
    source.max_tensor_bytes = kMaxSharing * zip_.file().size();
    source.storage = [this](const std::string& key, at::ScalarType type, int64_t values) {
      return storage(key, type, values);
    };
    return unpickle(source);
  }

 private:
  template <typename... Parts>
  [[noreturn]] void bad(uint64_t offset, const Parts&... parts) const {
    fail(ErrorCode::Format, zip_.file().path(), ": offset ", offset, ": ", parts...);
  }

  // "name/" of the one folder that holds data.pkl.
  std::string find_root() const {
    constexpr std::string_view kPickle = "data.pkl";
    std::string root;
    for (const auto& item : zip_.entries()) {
      const std::string& name = item.first;
      const size_t slash = name.find('/');
      if (slash == std::string::npos || name.substr(slash + 1) != kPickle) continue;
      if (!root.empty()) bad(item.second.header, "a second data.pkl; an archive holds one");
      root = name.substr(0, slash + 1);
    }
    if (root.empty()) bad(0, "no entry NAME/data.pkl: not a file of torch.save");
    return root;
  }

  std::string text(const std::string& name) const {
    const auto content = zip_.read(name);
    return {reinterpret_cast<const char*>(content.data()), content.size()};
  }

  void check_format() const {
    const std::string order_name = root_ + "byteorder", version_name = root_ + "version";
    if (zip_.entries().count(order_name) != 0 && text(order_name) != "little") {
      fail(ErrorCode::Unsupported, zip_.file().path(), ": byte order \"", text(order_name).substr(0, 20),
           "\"; only \"little\" is read");
    }
    const std::string version = text(version_name);
    int number = 0;
    const auto parsed = std::from_chars(version.data(), version.data() + version.size(), number);
    if (parsed.ec != std::errc{} || number < 1)
      bad(zip_.entries().at(version_name).offset, "no format version here");
    if (number > kNewestVersion) {
      fail(ErrorCode::Unsupported, zip_.file().path(), ": archive format ", number, "; formats up to ",
           kNewestVersion, " are read");
    }
  }

  // The storage's values, copied once whatever number of tensors share them.
  at::Tensor storage(const std::string& key, at::ScalarType type, int64_t values) {
    const std::string name = root_ + "data/" + key;
    const auto entry = zip_.entries().find(name);
    if (entry == zip_.entries().end()) bad(0, "no entry \"", name, "\", though a tensor is stored in it");
    const uint64_t size = entry->second.size, value_bytes = c10::elementSize(type);
    if (size % value_bytes != 0 || static_cast<uint64_t>(values) != size / value_bytes) {
      bad(entry->second.offset, "storage \"", name, "\" has ", size, " bytes, expected ", values,
          " values of ", value_bytes);
    }
    const auto [cached, added] = storages_.try_emplace(key);
    if (added) cached->second = copy(name, entry->second.offset, type, values);
    if (cached->second.scalar_type() != type)
      bad(entry->second.offset, "storage \"", name, "\" is given two types");
    return cached->second;
  }

  at::Tensor copy(const std::string& name, uint64_t offset, at::ScalarType type, int64_t values) const {
    const auto content = zip_.read(name);
    const auto is_bool = [](std::byte b) { return b <= std::byte{1}; };
    if (type == at::kBool && !std::all_of(content.begin(), content.end(), is_bool)) {
      bad(offset, "storage \"", name, "\" of bool holds values other than 0 and 1");
    }
    at::Tensor tensor = at::empty({values}, at::TensorOptions().dtype(type));
    if (!content.empty()) std::memcpy(tensor.data_ptr(), content.data(), content.size());
    return tensor;
  }

  ZipReader zip_;
  std::string root_;
  std::unordered_map<std::string, at::Tensor> storages_;
};

}  // namespace

ArchiveValue read_pt(const std::string& path) { return PtReader(path).read(); }

}  // namespace fltac
