#include "lora/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/safetensors.h"
#include "model/safetensors_header.h"
#include "model/weight_source.h"

namespace fltac {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{16} << 20;

std::vector<std::string> weight_names(const Architecture& a, Role role, int64_t layer) {
  std::vector<std::string> names = a.names(a.module_name(role), layer);
  for (std::string& name : names) name += ".weight";
  return names;
}

// The LoRA pair on each weight, by the name that the files give it.
std::map<std::string, LoraSlot> adapted_weights(const WeightSource& source, const AdapterBank& bank) {
  const Architecture& a = bank.backbone().architecture();
  std::map<std::string, LoraSlot> slots;
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const Role role : kRoles) {
      const std::optional<LoraSlot>& slot = bank.layout().slot(layer, role);
      if (!slot) continue;
      const std::vector<std::string> names = weight_names(a, role, layer);
      const std::string found = source.find(names);
      if (found.empty()) fail(ErrorCode::MissingWeight, "the tensor ", names.front(), " is missing");
      slots.emplace(found, *slot);
    }
  }
  return slots;
}

// Buffers that old versions of transformers saved and new ones compute.
bool is_buffer(const std::string& name) {
  return name.ends_with("embeddings.position_ids") || name.ends_with("rotary_emb.inv_freq");
}

// A name as the model with a head has it: with the family's prefix, and a LayerNorm's weight and bias called
// so.
std::string full_name(std::string name, const Family& family, bool prefixed) {
  const bool head = family.head.language != nullptr && name.starts_with(family.head.language);
  if (!prefixed && !head) name = family.prefix + name;
  const std::array<std::pair<std::string_view, std::string_view>, 2> old{
      {{"LayerNorm.gamma", "weight"}, {"LayerNorm.beta", "bias"}}};
  for (const auto& [ending, now] : old) {
    if (name.ends_with(ending)) name.replace(name.rfind('.') + 1, std::string::npos, now);
  }
  return name;
}

void write_tensor(AtomicFile& file, const at::Tensor& values) {
  const at::Tensor whole = values.contiguous();
  file.write({static_cast<const std::byte*>(whole.const_data_ptr()), whole.nbytes()});
}

TensorPart copied(const std::string& name, const TensorEntry& entry) {
  const auto write = [entry](AtomicFile& file) {
    for (uint64_t at = entry.begin; at < entry.end; at += kPieceBytes) {
      const uint64_t end = std::min(entry.end, at + kPieceBytes);
      file.write(entry.file->bytes().subspan(at, end - at));
      entry.file->give_back(at, end);
    }
  };
  return {name, entry.dtype, entry.shape, entry.end - entry.begin, write};
}

TensorPart head_part(const std::string& name, const float* values, std::vector<int64_t> shape) {
  const int64_t n = c10::multiply_integers(shape);
  const auto write = [values, n](AtomicFile& file) {
    file.write(std::as_bytes(std::span(values, static_cast<size_t>(n))));
  };
  return {name, "F32", std::move(shape), static_cast<uint64_t>(n) * sizeof(float), write};
}

class Merger {
 public:
  Merger(const std::string& folder, const AdapterBank& bank, int64_t row)
      : model_(SafetensorsModel::open(folder)), bank_(bank), row_(row), flat_(bank.row(row)) {}

  std::vector<TensorPart> parts() {
    const Architecture& a = bank_.backbone().architecture();
    const WeightSource source(model_, a, model_.path());
    std::map<std::string, LoraSlot> slots = adapted_weights(source, bank_);
    std::vector<TensorPart> parts = head_parts();
    std::set<std::string> left_out(bank_.backbone().unused().begin(), bank_.backbone().unused().end());
    for (const TensorPart& part : parts) left_out.insert(part.name);
    const std::string prefix = a.family->prefix;
    const bool prefixed = std::any_of(model_.entries().begin(), model_.entries().end(),
                                      [&](const auto& item) { return item.first.starts_with(prefix); });
    for (const auto& [name, entry] : model_.entries()) {
      if (left_out.contains(name) || is_buffer(name)) continue;
      const std::string full = full_name(name, *a.family, prefixed);
      const auto slot = slots.find(name);
      parts.push_back(slot == slots.end() ? copied(full, entry) : merged(full, name, slot->second));
    }
    return parts;
  }

 private:
  std::vector<TensorPart> head_parts() const {
    const HeadRow& head = bank_.backbone().architecture().family->head;
    std::vector<TensorPart> parts;
    const auto add = [&](const HeadModule& module, const std::optional<HeadSlot>& slot) {
      if (!slot) return;
      parts.push_back(head_part(module.path() + ".weight", bank_.head_weight(row_, *slot),
                                {slot->outputs, slot->inputs}));
      parts.push_back(head_part(module.path() + ".bias", bank_.head_bias(row_, *slot), {slot->outputs}));
    };
    add(head.dense, bank_.layout().head_dense);
    add(head.out, bank_.layout().head_out);
    return parts;
  }

  // A and B of the row, as matrices that read its memory.
  at::Tensor factor(int64_t offset, int64_t rows, int64_t columns) const {
    return at::from_blob(const_cast<float*>(flat_ + offset), {rows, columns}, at::kFloat);
  }

  TensorPart merged(const std::string& full, const std::string& name, const LoraSlot& slot) const {
    const TensorEntry& entry = model_.entry(name);
    const SafetensorsType* type = find_safetensors_type(entry.dtype);
    if (entry.shape.size() != 2 || type == nullptr || !type->scalar || !at::isFloatingType(*type->scalar)) {
      fail(ErrorCode::Unsupported, model_.path(), ": tensor \"", name,
           "\" cannot take an adapter: expected a matrix of floating-point values, found ", entry.dtype,
           " of ", entry.shape.size(), " dimensions");
    }
    const auto write = [this, name, slot, outputs = entry.shape[0], inputs = entry.shape[1],
                        scalar = *type->scalar](AtomicFile& file) {
      const int64_t rank = bank_.spec().rank;
      at::Tensor weight = model_.load(name, at::kFloat);
      weight.addmm_(factor(slot.b_offset, outputs, rank), factor(slot.a_offset, rank, inputs), 1,
                    bank_.spec().scaling());
      write_tensor(file, weight.to(scalar));
    };
    return {full, entry.dtype, entry.shape, entry.end - entry.begin, write};
  }

  SafetensorsModel model_;
  const AdapterBank& bank_;
  int64_t row_;
  const float* flat_;
};

}  // namespace

void merge_adapter(const std::string& folder, const AdapterBank& bank, int64_t row, const std::string& path,
                   const Control& control) {
  if (bank.spec().full) {
    fail(ErrorCode::Usage, "the bank's rows are whole models already: there is nothing to merge");
  }
  Merger merger(folder, bank, row);
  std::vector<TensorPart> parts = merger.parts();
  const auto total = static_cast<int64_t>(parts.size());
  int64_t done = 0;
  for (TensorPart& part : parts) {
    part.write = [&control, &done, total, write = std::move(part.write)](AtomicFile& file) {
      control.check();
      write(file);
      control.progress(++done, total);
    };
  }
  write_safetensors(path, std::move(parts), {{"format", "pt"}});
}

}  // namespace fltac
