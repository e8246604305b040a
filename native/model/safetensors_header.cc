#include "model/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unordered_set>

#include "core/error.h"
#include "core/parse_json.h"

namespace fltac {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors files hold little-endian values");

constexpr uint64_t kLengthBytes = 8;

constexpr std::array kTypes = {
    SafetensorsType{"F32", 4, at::kFloat},       SafetensorsType{"F16", 2, at::kHalf},
    SafetensorsType{"BF16", 2, at::kBFloat16},   SafetensorsType{"F64", 8, at::kDouble},
    SafetensorsType{"I64", 8, at::kLong},        SafetensorsType{"I32", 4, at::kInt},
    SafetensorsType{"I16", 2, at::kShort},       SafetensorsType{"I8", 1, at::kChar},
    SafetensorsType{"U8", 1, at::kByte},         SafetensorsType{"BOOL", 1, std::nullopt},
    SafetensorsType{"U16", 2, std::nullopt},     SafetensorsType{"U32", 4, std::nullopt},
    SafetensorsType{"U64", 8, std::nullopt},     SafetensorsType{"F8_E4M3", 1, std::nullopt},
    SafetensorsType{"F8_E5M2", 1, std::nullopt}, SafetensorsType{"C64", 8, std::nullopt},
};

class HeaderReader {
 public:
  explicit HeaderReader(const std::shared_ptr<const MappedFile>& file) : file_(file) {}

  SafetensorsHeader read() {
    const json root = parse(header_text());
    if (!root.is_object()) bad(kLengthBytes, "the header must be a JSON object, found ", root.type_name());
    SafetensorsHeader header;
    for (const auto& [name, value] : root.items()) {
      if (name == "__metadata__") {
        header.metadata = metadata(value);
      } else {
        header.entries.emplace(name, entry(name, value));
      }
    }
    check_ranges(header.entries);
    return header;
  }

 private:
  template <typename... Parts>
  [[noreturn]] void bad(uint64_t offset, const Parts&... parts) const {
    constexpr size_t kLongest = 600;  // names and values come from the file and may be of any length
    std::ostringstream text;
    (text << ... << parts);
    std::string message = text.str();
    if (message.size() > kLongest) message = message.substr(0, kLongest) + "...";
    fail(ErrorCode::Format, file_->path(), ": offset ", offset, ": ", message);
  }

  std::string_view header_text() {
    const uint64_t size = file_->size();
    if (size < kLengthBytes) {
      bad(0, "a safetensors file starts with 8 bytes for the length of its header, but the file has ", size,
          " bytes");
    }
    uint64_t length = 0;
    std::memcpy(&length, file_->bytes().data(), kLengthBytes);
    if (length > kMaxSafetensorsHeader) {
      bad(0, "the header's length is given as ", length, " bytes; at most ", kMaxSafetensorsHeader,
          " are taken. Is this a safetensors file?");
    }
    if (length > size - kLengthBytes) {
      bad(0, "the header's length is given as ", length, " bytes, but only ", size - kLengthBytes,
          " follow: the file is cut short or no safetensors file");
    }
    data_ = kLengthBytes + length;
    return {reinterpret_cast<const char*>(file_->bytes().data()) + kLengthBytes, length};
  }

  json parse(std::string_view text) const {
    std::vector<std::unordered_set<std::string>> names;  // keys seen in each open object
    const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
      constexpr int kMaxDepth = 3;  // {name: {key: [numbers]}}
      if (depth > kMaxDepth) bad(kLengthBytes, "the header's JSON is nested deeper than tensor entries are");
      if (event == json::parse_event_t::object_start) names.emplace_back();
      if (event == json::parse_event_t::object_end) names.pop_back();
      if (event == json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) {
        bad(kLengthBytes, "the header gives \"", parsed.get<std::string>(), "\" twice");
      }
      return true;
    };
    try {
      return json::parse(text, watch);
    } catch (const json::exception& error) {
      const auto* parse_error = dynamic_cast<const json::parse_error*>(&error);
      bad(kLengthBytes + (parse_error == nullptr ? 0 : parse_error->byte),
          "the header is not valid JSON: ", error.what());
    }
  }

  StringMap metadata(const json& value) const {
    if (!value.is_object()) bad(kLengthBytes, "\"__metadata__\" must be an object of strings");
    StringMap result;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string())
        bad(kLengthBytes, "\"__metadata__\" must hold strings only, but \"", key, "\" is ", text);
      result.emplace(key, text.get<std::string>());
    }
    return result;
  }

  TensorEntry entry(const std::string& name, const json& value) const {
    const auto member = [&](const char* key) -> const json& {
      if (!value.is_object() || !value.contains(key)) {
        bad(kLengthBytes, "tensor \"", name, "\" must have dtype, shape and data_offsets, found ", value);
      }
      return value.at(key);
    };
    const json &dtype = member("dtype"), &shape = member("shape"), &range = member("data_offsets");
    if (!dtype.is_string()) bad(kLengthBytes, "tensor \"", name, "\": dtype must be a string, found ", dtype);
    TensorEntry result;
    result.file = file_;
    result.dtype = dtype.get<std::string>();
    const SafetensorsType* type = find_safetensors_type(result.dtype);
    if (type == nullptr) {
      fail(ErrorCode::Unsupported, file_->path(), ": tensor ", shown(name), " has data type ", shown(dtype),
           ", which this version does not know");
    }
    result.shape = dimensions(name, shape);
    result.values = count(name, result.shape);
    place(name, range, type->bytes, result);
    return result;
  }

  std::vector<int64_t> dimensions(const std::string& name, const json& shape) const {
    const auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (!shape.is_array()) bad(kLengthBytes, "tensor \"", name, "\": shape must be an array, found ", shape);
    std::vector<int64_t> result;
    for (const json& size : shape) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > limit) {
        bad(kLengthBytes, "tensor \"", name, "\": shape must hold whole numbers below 2^63, found ", size);
      }
      result.push_back(size.get<int64_t>());
    }
    return result;
  }

  int64_t count(const std::string& name, const std::vector<int64_t>& shape) const {
    int64_t values = 1;
    for (const int64_t size : shape) {
      if (__builtin_mul_overflow(values, size, &values)) {
        bad(kLengthBytes, "tensor \"", name, "\": its shape ", json(shape), " has more than 2^63 values");
      }
    }
    return values;
  }

  // Checks data_offsets against the file and the shape; sets begin and end.
  void place(const std::string& name, const json& range, uint64_t value_bytes, TensorEntry& result) const {
    if (!range.is_array() || range.size() != 2 || !range[0].is_number_unsigned() ||
        !range[1].is_number_unsigned()) {
      bad(kLengthBytes, "tensor \"", name, "\": data_offsets must be two whole numbers, found ", range);
    }
    const auto begin = range[0].get<uint64_t>(), end = range[1].get<uint64_t>();
    const uint64_t available = file_->size() - data_;
    if (begin > end || end > available) {
      bad(data_, "tensor \"", name, "\": data_offsets ", range, " do not lie within the ", available,
          " bytes of data: the file is cut short or damaged");
    }
    uint64_t needed = 0;
    const bool overflow = __builtin_mul_overflow(static_cast<uint64_t>(result.values), value_bytes, &needed);
    if (overflow || needed != end - begin) {
      bad(data_ + begin, "tensor \"", name, "\": data_offsets ", range, " span ", end - begin,
          " bytes, but shape ", json(result.shape), " of ", result.dtype, " takes ", result.values, " x ",
          value_bytes);
    }
    result.begin = data_ + begin;
    result.end = data_ + end;
  }

  // The format allows neither overlaps nor holes, so that nothing can hide between tensors.
  void check_ranges(const TensorEntries& entries) const {
    std::vector<const TensorEntries::value_type*> order;
    for (const auto& item : entries) order.push_back(&item);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
      return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
    });
    uint64_t reached = data_;
    for (const auto* item : order) {
      if (item->second.begin != reached) {
        bad(item->second.begin, "tensor \"", item->first,
            "\" starts here, but the data before it end at offset ", reached,
            ": tensors must follow one another without ", item->second.begin < reached ? "overlap" : "gap");
      }
      reached = item->second.end;
    }
    if (reached != file_->size()) {
      bad(reached, file_->size() - reached,
          " bytes follow the last tensor; the header describes none of them");
    }
  }

  std::shared_ptr<const MappedFile> file_;
  uint64_t data_ = 0;  // offset of the first tensor byte
};

}  // namespace

const SafetensorsType* find_safetensors_type(std::string_view name) {
  const auto* row =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& type) { return type.name == name; });
  return row == kTypes.end() ? nullptr : row;
}

SafetensorsHeader read_safetensors_header(const std::shared_ptr<const MappedFile>& file) {
  return HeaderReader(file).read();
}

}  // namespace fltac
