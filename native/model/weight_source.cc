#include "model/weight_source.h"

#include <sstream>
#include <utility>

#include "core/error.h"

namespace fltac {
namespace {

std::vector<std::string> with_ending(const std::vector<std::string>& modules, const char* ending) {
  std::vector<std::string> all;
  for (const std::string& module : modules) all.push_back(module + ending);
  return all;
}

}  // namespace

WeightSource::WeightSource(const SafetensorsModel& model, const Architecture& architecture, std::string where)
    : model_(model), prefix_(architecture.family->prefix), where_(std::move(where)) {
  for (const auto& [name, entry] : model_.entries()) left_.insert(name);
}

std::string WeightSource::find(const std::vector<std::string>& names) const {
  std::vector<std::string> candidates;
  for (const std::string& name : names) {
    candidates.push_back(name);
    if (name.starts_with(prefix_)) candidates.push_back(name.substr(prefix_.size()));
  }
  for (size_t i = 0, n = candidates.size(); i < n; ++i) {
    const std::string& name = candidates[i];
    if (name.ends_with("LayerNorm.weight")) {
      candidates.push_back(name.substr(0, name.size() - 6) + "gamma");
    } else if (name.ends_with("LayerNorm.bias")) {
      candidates.push_back(name.substr(0, name.size() - 4) + "beta");
    }
  }
  for (const std::string& candidate : candidates) {
    if (model_.contains(candidate)) return candidate;
  }
  return {};
}

void WeightSource::take_into(const std::vector<std::string>& names, const std::vector<int64_t>& shape,
                             const at::Tensor& destination) {
  const std::string found = find(names);
  if (found.empty()) fail(ErrorCode::MissingWeight, where_, ": the tensor ", names.front(), " is missing");
  const std::vector<int64_t>& stored = model_.entry(found).shape;
  if (stored != shape) {
    std::ostringstream sizes;
    sizes << at::IntArrayRef(stored) << ", config.json asks for " << at::IntArrayRef(shape);
    fail(ErrorCode::Shape, where_, ": the tensor ", found, " has shape ", sizes.str());
  }
  model_.load_into(found, destination);
  left_.erase(found);
}

at::Tensor WeightSource::take(const std::vector<std::string>& names, const std::vector<int64_t>& shape,
                              const at::TensorOptions& options) {
  at::Tensor tensor = at::empty(shape, options);
  take_into(names, shape, tensor);
  return tensor;
}

at::Tensor WeightSource::take_any(const std::string& found) {
  left_.erase(found);
  return model_.load(found, at::kFloat);
}

Linear WeightSource::linear(const std::vector<ModuleShape>& modules, const WeightForm& form) {
  int64_t outputs = 0;
  for (const ModuleShape& module : modules) outputs += module.shape.front();
  const std::vector<int64_t>& shape = modules.front().shape;
  const at::Tensor weight =
      at::empty({outputs, c10::multiply_integers(shape) / shape.front()}, form.matrix());
  const at::Tensor bias = modules.front().bias ? at::empty({outputs}, form.vector()) : at::Tensor();
  int64_t at = 0;
  for (const ModuleShape& module : modules) {
    const int64_t n = module.shape.front();
    take_into(with_ending(module.names, ".weight"), module.shape, weight.narrow(0, at, n));
    if (module.bias) take_into(with_ending(module.names, ".bias"), {n}, bias.narrow(0, at, n));
    at += n;
  }
  return {weight, bias, form};
}

Norm WeightSource::norm(const std::vector<std::string>& modules, int64_t n, NormKind kind,
                        const WeightForm& form) {
  Norm norm{take(with_ending(modules, ".weight"), {n}, form.vector()), {}};
  if (kind == NormKind::Layer) norm.shift = take(with_ending(modules, ".bias"), {n}, form.vector());
  return norm;
}

void WeightSource::ignore(const std::vector<std::string>& names) { left_.erase(find(names)); }

std::vector<std::string> WeightSource::left() const {
  std::vector<std::string> names;
  for (const std::string& name : left_) {
    const bool buffer = name.ends_with("embeddings.position_ids") || name.ends_with("rotary_emb.inv_freq");
    if (!buffer) names.push_back(name);
  }
  return names;
}

}  // namespace fltac
