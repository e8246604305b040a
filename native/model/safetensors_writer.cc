#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "core/atomic_file.h"
#include "core/error.h"
#include "model/safetensors.h"

namespace fltac {
namespace {

using nlohmann::json;

constexpr size_t kAlignment =
    8;  // the data start at a multiple of this, as the reference implementation has it

void check(const NamedTensors& sorted, const std::string& path) {
  for (size_t i = 0; i < sorted.size(); ++i) {
    const auto& [name, tensor] = sorted[i];
    if (name == "__metadata__" || (i > 0 && sorted[i - 1].first == name)) {
      fail(ErrorCode::Usage, path, ": cannot be written: tensor name \"", name,
           "\" is reserved or given twice");
    }
    if (!tensor.defined() || tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu() ||
        tensor.layout() != at::kStrided) {
      fail(ErrorCode::Shape, path, ": cannot be written: tensor \"", name,
           "\" must be dense float32 on the CPU");
    }
  }
}

std::string header_text(const NamedTensors& sorted, const StringMap& metadata, const std::string& path) {
  json header = json::object();  // ordered by key
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : sorted) {
    const uint64_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", "F32"}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
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

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors, const StringMap& metadata) {
  NamedTensors sorted = tensors;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  check(sorted, path);
  const std::string header = header_text(sorted, metadata, path);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const auto& item : sorted) {
    const at::Tensor values = item.second.contiguous();
    file.write(std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<size_t>(values.numel()))));
  }
  file.commit();
}

}  // namespace fltac
