#include "model/backbone.h"

#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "model/safetensors.h"

namespace fltac {
namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail(ErrorCode::Io, path.string(), ": cannot be read");
  return text.str();
}

bool ends_with(const std::string& text, const std::string& tail) {
  return text.size() >= tail.size() && text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

// A linear module as in the files: weight [outputs, inputs] and bias [outputs].
struct Parameters {
  at::Tensor weight, bias;
  Linear linear() const { return {weight, bias}; }
};

Parameters stack(const std::vector<Parameters>& parts) {
  std::vector<at::Tensor> weights, biases;
  for (const Parameters& part : parts) {
    weights.push_back(part.weight);
    biases.push_back(part.bias);
  }
  return {at::cat(weights), at::cat(biases)};
}

// Takes tensors out of the files by the architecture's names and keeps count of those never asked for.
class WeightSource {
 public:
  WeightSource(const SafetensorsModel& model, const Architecture& architecture, std::string where)
      : model_(model), prefix_(architecture.family->prefix), where_(std::move(where)) {
    for (const auto& [name, entry] : model_.entries()) left_.insert(name);
  }

  // The name a tensor has in the files: with or without the family's prefix; old files call a LayerNorm's
  // weight and bias gamma and beta, as TensorFlow did. Empty where it is not there.
  std::string find(const std::string& name) const {
    std::vector<std::string> candidates{name};
    if (name.rfind(prefix_, 0) == 0) candidates.push_back(name.substr(prefix_.size()));
    for (size_t i = 0, n = candidates.size(); i < n; ++i) {
      if (ends_with(candidates[i], "LayerNorm.weight")) {
        candidates.push_back(candidates[i].substr(0, candidates[i].size() - 6) + "gamma");
      } else if (ends_with(candidates[i], "LayerNorm.bias")) {
        candidates.push_back(candidates[i].substr(0, candidates[i].size() - 4) + "beta");
      }
    }
    for (const std::string& candidate : candidates) {
      if (model_.entries().count(candidate)) return candidate;
    }
    return {};
  }

  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape) {
    const std::string found = find(name);
    if (found.empty()) fail(ErrorCode::MissingWeight, where_, ": the tensor ", name, " is missing");
    const at::Tensor tensor = take_any(found);
    if (tensor.sizes() != at::IntArrayRef(shape)) {
      std::ostringstream sizes;
      sizes << tensor.sizes() << ", config.json asks for " << at::IntArrayRef(shape);
      fail(ErrorCode::Shape, where_, ": the tensor ", found, " has shape ", sizes.str());
    }
    return tensor;
  }

  // A tensor by its name in the files, whatever its shape.
  at::Tensor take_any(const std::string& found) {
    left_.erase(found);
    return model_.load(found, at::kFloat);
  }

  Parameters parameters(const std::string& module, int64_t outputs, int64_t inputs) {
    return {take(module + ".weight", {outputs, inputs}), take(module + ".bias", {outputs})};
  }

  Norm norm(const std::string& module, int64_t n) {
    return {take(module + ".weight", {n}), take(module + ".bias", {n})};
  }

  // position_ids is a buffer that old versions of transformers saved: it holds 0, 1, 2, ...
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const std::string& name : left_) {
      if (!ends_with(name, "embeddings.position_ids")) names.push_back(name);
    }
    return names;
  }

 private:
  const SafetensorsModel& model_;
  std::string prefix_;
  std::string where_;
  std::set<std::string> left_;
};

LayerWeights load_layer(WeightSource& source, const Architecture& a, int64_t layer) {
  const auto parameters = [&](Role role) {
    const auto [outputs, inputs] = a.module_shape(role);
    return source.parameters(a.module(role, layer), outputs, inputs);
  };
  const Parameters q = parameters(Role::Query), k = parameters(Role::Key), v = parameters(Role::Value);
  LayerWeights w;
  if (layer == a.layers - 1) {
    w.query = q.linear();
    w.key_value = stack({k, v}).linear();
  } else {
    w.qkv = stack({q, k, v}).linear();
  }
  w.attention_out = parameters(Role::AttentionOut).linear();
  w.attention_norm = source.norm(a.name(a.family->attention_norm, layer), a.hidden);
  w.mlp_in = parameters(Role::MlpIn).linear();
  w.mlp_out = parameters(Role::MlpOut).linear();
  w.mlp_norm = source.norm(a.name(a.family->mlp_norm, layer), a.hidden);
  return w;
}

Parameters load_head(WeightSource& source, const Architecture& a, const std::string& where) {
  const std::string weight = source.find(std::string(a.family->head) + ".weight");
  const std::string bias = source.find(std::string(a.family->head) + ".bias");
  if (weight.empty() || bias.empty()) return {};
  Parameters head{source.take_any(weight), source.take_any(bias)};
  if (head.weight.dim() != 2 || head.weight.size(1) != a.hidden || head.bias.dim() != 1 ||
      head.bias.size(0) != head.weight.size(0)) {
    fail(ErrorCode::Shape, where, ": the classification head ", weight, " does not fit the hidden size ",
         a.hidden);
  }
  return head;
}

}  // namespace

std::shared_ptr<const Backbone> Backbone::load(const std::filesystem::path& folder) {
  const auto config = folder / "config.json";
  const auto backbone = std::shared_ptr<Backbone>(new Backbone());
  backbone->architecture_ = parse_architecture(read_text(config), config.string());
  const Architecture& a = backbone->architecture_;
  const SafetensorsModel model = SafetensorsModel::open(folder.string());
  WeightSource source(model, a, folder.string());

  backbone->word_embeddings = source.take(a.name(a.family->word_embeddings), {a.vocab, a.hidden});
  backbone->position_embeddings = source.take(a.name(a.family->position_embeddings), {a.positions, a.hidden});
  backbone->type_embeddings = source.take(a.name(a.family->type_embeddings), {a.types, a.hidden});
  backbone->embedding_norm = source.norm(a.name(a.family->embedding_norm), a.hidden);
  for (int64_t layer = 0; layer < a.layers; ++layer) backbone->layers.push_back(load_layer(source, a, layer));
  backbone->pooler = source.parameters(a.name(a.family->pooler), a.hidden, a.hidden).linear();
  const Parameters head = load_head(source, a, folder.string());
  backbone->head_weight_ = head.weight;
  backbone->head_bias_ = head.bias;
  backbone->unused_ = source.left();
  return backbone;
}

int64_t Backbone::bytes() const {
  int64_t total = pooler.bytes();
  const auto add = [&](const at::Tensor& tensor) { total += static_cast<int64_t>(tensor.nbytes()); };
  for (const at::Tensor& table : {word_embeddings, position_embeddings, type_embeddings}) add(table);
  const auto add_norm = [&](const Norm& norm) {
    add(norm.gain);
    add(norm.shift);
  };
  add_norm(embedding_norm);
  for (const LayerWeights& w : layers) {
    for (const Linear* linear : {&w.qkv, &w.query, &w.key_value, &w.attention_out, &w.mlp_in, &w.mlp_out}) {
      total += linear->bytes();
    }
    add_norm(w.attention_norm);
    add_norm(w.mlp_norm);
  }
  return total;
}

}  // namespace fltac
