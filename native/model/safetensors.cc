#include "model/safetensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/parse_json.h"
#include "model/safetensors_header.h"

namespace fltac {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

fs::path file_to_open(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail(ErrorCode::Io, path.string(), ": no such file or folder");
  if (!fs::is_directory(status)) return path;
  for (const char* name : {kSingle, kIndex}) {
    if (fs::exists(path / name, error)) return path / name;
  }
  fail(ErrorCode::Io, path.string(), ": expected ", kSingle, " or ", kIndex,
       " in this folder, found neither; weights in other formats must be saved as safetensors first");
}

json parse_index(const fs::path& path) {
  const MappedFile file(path.string());
  if (file.size() > kMaxSafetensorsHeader) {
    fail(ErrorCode::Format, path.string(), ": offset 0: an index of ", file.size(), " bytes; at most ",
         kMaxSafetensorsHeader, " are taken");
  }
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  return parse_json({text, file.size()}, path.string());
}

constexpr size_t kLongestFileName = 255;  // of any file system in use

// tensor name -> file name. A file name with a folder in it could lead anywhere on the machine.
StringMap read_index(const fs::path& path) {
  const json root = parse_index(path);
  if (!root.is_object() || !root.contains("weight_map") || !root.at("weight_map").is_object()) {
    fail(ErrorCode::Format, path.string(), ": offset 0: an index must hold an object \"weight_map\"");
  }
  StringMap files;
  for (const auto& [name, value] : root.at("weight_map").items()) {
    const std::string file = value.is_string() ? value.get<std::string>() : std::string();
    if (file.empty() || file.size() > kLongestFileName || file == "." || file == ".." ||
        file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      fail(ErrorCode::Format, path.string(), ": offset 0: \"weight_map\" must map ", shown(name),
           " to the name of a file in the same folder, found ", shown(value));
    }
    files.emplace(name, file);
  }
  return files;
}

void add_shard(const std::string& path, TensorEntries& entries, StringMap& metadata) {
  SafetensorsHeader header = read_safetensors_header(std::make_shared<const MappedFile>(path));
  for (auto& [name, entry] : header.entries) {
    const auto [found, added] = entries.emplace(name, std::move(entry));
    if (!added) {
      fail(ErrorCode::Format, path, ": offset ", 8, ": tensor ", shown(name), " is in ",
           found->second.file->path(), " as well");
    }
  }
  metadata.merge(header.metadata);
}

constexpr uint64_t kPieceBytes = uint64_t{16} << 20;

// n values that lie at [begin, end) of a file: in its own memory, or copied where they are not aligned there.
at::Tensor stored(const MappedFile& file, uint64_t begin, uint64_t end, int64_t n, at::ScalarType type) {
  const std::byte* bytes = file.bytes().data() + begin;
  if (reinterpret_cast<uintptr_t>(bytes) % c10::elementSize(type) == 0) {
    return at::from_blob(const_cast<std::byte*>(bytes), {n}, at::TensorOptions().dtype(type));
  }
  at::Tensor copy = at::empty({n}, at::TensorOptions().dtype(type));
  std::memcpy(copy.data_ptr(), bytes, end - begin);
  return copy;
}

bool floating(at::ScalarType type) {
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16 || type == at::kDouble;
}

}  // namespace

SafetensorsModel SafetensorsModel::open(const std::string& path) {
  const fs::path file = file_to_open(path);
  SafetensorsModel model;
  model.path_ = file.string();
  if (file.extension() != ".json") {
    add_shard(model.path_, model.entries_, model.metadata_);
    return model;
  }
  const StringMap index = read_index(file);
  std::set<std::string> shards;
  for (const auto& item : index) shards.insert(item.second);
  for (const std::string& shard : shards) {
    add_shard((file.parent_path() / shard).string(), model.entries_, model.metadata_);
  }
  for (const auto& [name, shard] : index) {
    const auto found = model.entries_.find(name);
    const std::string expected = (file.parent_path() / shard).string();
    if (found == model.entries_.end() || found->second.file->path() != expected) {
      fail(ErrorCode::MissingWeight, model.path_, ": names tensor ", shown(name), " in ", shard,
           ", but that file does not hold it");
    }
  }
  return model;
}

const TensorEntry& SafetensorsModel::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    fail(ErrorCode::MissingWeight, path_, ": expected a tensor \"", name, "\", found none among its ",
         entries_.size(), " tensors");
  }
  return found->second;
}

at::Tensor SafetensorsModel::load(const std::string& name, at::ScalarType dtype) const {
  at::Tensor tensor = at::empty(entry(name).shape, at::TensorOptions().dtype(dtype));
  load_into(name, tensor);
  return tensor;
}

void SafetensorsModel::load_into(const std::string& name, const at::Tensor& destination) const {
  const TensorEntry& tensor = entry(name);
  const at::ScalarType dtype = destination.scalar_type();
  const SafetensorsType* type = find_safetensors_type(tensor.dtype);
  const bool same = type != nullptr && type->scalar == dtype;
  const bool converts = type != nullptr && type->scalar && floating(*type->scalar) && floating(dtype);
  if (!same && !converts) {
    fail(ErrorCode::Unsupported, tensor.file->path(), ": tensor ", shown(name), " is stored as ",
         tensor.dtype, " and cannot be loaded as ", c10::toString(dtype));
  }
  const at::Tensor values = destination.view({-1});
  const auto piece = static_cast<int64_t>(kPieceBytes / type->bytes);
  for (int64_t at = 0; at < tensor.values; at += piece) {
    const int64_t n = std::min(piece, tensor.values - at);
    const uint64_t begin = tensor.begin + static_cast<uint64_t>(at) * type->bytes;
    const uint64_t end = begin + static_cast<uint64_t>(n) * type->bytes;
    values.narrow(0, at, n).copy_(stored(*tensor.file, begin, end, n, *type->scalar));
    tensor.file->give_back(begin, end);
  }
}

}  // namespace fltac
