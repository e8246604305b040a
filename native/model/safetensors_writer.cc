#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "model/safetensors.h"
#include "model/safetensors_header.h"

namespace fltac {
namespace {

using nlohmann::json;

constexpr size_t kAlignment =
    8;  // the data start at a multiple of this, as the reference implementation has it

void check_names(const std::vector<TensorPart>& parts, const std::string& path) {
  std::set<std::string_view> names;
  for (const TensorPart& part : parts) {
    if (part.name == "__metadata__" || !names.insert(part.name).second) {
      fail(ErrorCode::Usage, path, ": cannot be written: tensor name \"", part.name,
           "\" is reserved or given twice");
    }
  }
}

uint64_t width_of(const TensorPart& part) {
  const SafetensorsType* type = find_safetensors_type(part.dtype);
  return type == nullptr ? 1 : type->bytes;
}

std::string header_text(const std::vector<TensorPart>& parts, const StringMap& metadata,
                        const std::string& path) {
  json header = json::object();  // ordered by key
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorPart& part : parts) {
    const uint64_t end = offset + part.bytes;
    header[part.name] = {{"dtype", part.dtype}, {"shape", part.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
    return text;
  } catch (const json::exception& error) {
    fail(ErrorCode::Usage, path,
         ": cannot be written: a name or metadata value is not UTF-8: ", error.what());
  }
}

TensorPart part_of(const std::string& name, const at::Tensor& tensor, const std::string& path) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu() ||
      tensor.layout() != at::kStrided) {
    fail(ErrorCode::Shape, path, ": cannot be written: tensor \"", name,
         "\" must be dense float32 on the CPU");
  }
  const auto write = [tensor](AtomicFile& file) {
    const at::Tensor values = tensor.contiguous();
    file.write(std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<size_t>(values.numel()))));
  };
  return {name, "F32", tensor.sizes().vec(), tensor.nbytes(), write};
}

}  // namespace

void write_safetensors(const std::string& path, std::vector<TensorPart> parts, const StringMap& metadata) {
  check_names(parts, path);
  std::sort(parts.begin(), parts.end(), [](const TensorPart& a, const TensorPart& b) {
    return std::pair(width_of(b), std::string_view(a.name)) <
           std::pair(width_of(a), std::string_view(b.name));
  });
  const std::string header = header_text(parts, metadata, path);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const TensorPart& part : parts) {
    const uint64_t begin = file.written();
    part.write(file);
    if (file.written() - begin != part.bytes) {
      fail(ErrorCode::Internal, path, ": tensor \"", part.name, "\" wrote ", file.written() - begin,
           " bytes, expected ", part.bytes);
    }
  }
  file.commit();
}

void write_safetensors(const std::string& path, const NamedTensors& tensors, const StringMap& metadata) {
  std::vector<TensorPart> parts;
  for (const auto& [name, tensor] : tensors) parts.push_back(part_of(name, tensor, path));
  write_safetensors(path, std::move(parts), metadata);
}

}  // namespace fltac
