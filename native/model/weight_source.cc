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

Parameters stack(const std::vector<Parameters>& parts) {
  std::vector<at::Tensor> weights, biases;
  for (const Parameters& part : parts) {
    weights.push_back(part.weight);
    if (part.bias.defined()) biases.push_back(part.bias);
  }
  return {at::cat(weights), biases.empty() ? at::Tensor() : at::cat(biases)};
}

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

at::Tensor WeightSource::take(const std::vector<std::string>& names, const std::vector<int64_t>& shape) {
  const std::string found = find(names);
  if (found.empty()) fail(ErrorCode::MissingWeight, where_, ": the tensor ", names.front(), " is missing");
  const std::vector<int64_t>& stored = model_.entry(found).shape;
  if (stored != shape) {
    std::ostringstream sizes;
    sizes << at::IntArrayRef(stored) << ", config.json asks for " << at::IntArrayRef(shape);
    fail(ErrorCode::Shape, where_, ": the tensor ", found, " has shape ", sizes.str());
  }
  return take_any(found);
}

at::Tensor WeightSource::take_any(const std::string& found) {
  left_.erase(found);
  return model_.load(found, at::kFloat);
}

Parameters WeightSource::parameters(const std::vector<std::string>& modules, std::vector<int64_t> shape,
                                    bool bias) {
  Parameters parameters{take(with_ending(modules, ".weight"), shape), {}};
  if (bias) parameters.bias = take(with_ending(modules, ".bias"), {shape.front()});
  return parameters;
}

Norm WeightSource::norm(const std::vector<std::string>& modules, int64_t n, NormKind kind) {
  const Parameters parameters = this->parameters(modules, {n}, kind == NormKind::Layer);
  return {parameters.weight, parameters.bias};
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
