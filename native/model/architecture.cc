#include "model/architecture.h"

namespace fltac {
namespace {

std::string fill(const char* pattern, int64_t layer) {
  std::string text = pattern;
  const auto at = text.find("{}");
  if (at != std::string::npos) text.replace(at, 2, std::to_string(layer));
  return text;
}

// `modules`: the path, and what other versions of transformers call it.
void add_linear(std::vector<TensorShape>& all, const std::vector<std::string>& modules,
                std::vector<int64_t> shape, bool bias) {
  const int64_t outputs = shape.front();
  const auto also = [&](const char* ending) {
    return modules.size() > 1 ? modules.back() + ending : std::string();
  };
  all.push_back({modules.front() + ".weight", std::move(shape), also(".weight")});
  if (bias) all.push_back({modules.front() + ".bias", {outputs}, also(".bias")});
}

void add_embeddings(std::vector<TensorShape>& all, const Architecture& a) {
  const Family& f = *a.family;
  if (f.input == Input::Images) {
    add_linear(all, {a.name(f.patch_embedding)},
               {a.hidden, a.image.channels, a.image.patch_height, a.image.patch_width}, true);
    for (const char* token : f.special_embeddings) {
      if (token) all.push_back({a.name(token), {1, 1, a.hidden}});
    }
    all.push_back({a.name(f.position_embeddings), {1, a.positions, a.hidden}});
    return;
  }
  all.push_back({a.name(f.word_embeddings), {a.vocab, a.hidden}});
  if (f.position_embeddings) all.push_back({a.name(f.position_embeddings), {a.positions, a.hidden}});
  if (f.type_embeddings) all.push_back({a.name(f.type_embeddings), {a.types, a.hidden}});
}

}  // namespace

std::string Architecture::name(const char* pattern, int64_t layer) const {
  return family->prefix + fill(pattern, layer);
}

std::vector<std::string> Architecture::names(const ModuleName& module, int64_t layer) const {
  std::vector<std::string> all{name(module.name, layer)};
  if (module.also) all.push_back(name(module.also, layer));
  return all;
}

bool Architecture::has_bias(Role role) const {
  switch (role) {
    case Role::Query:
    case Role::Key:
    case Role::Value:
      return qkv_bias;
    case Role::AttentionOut:
      return attention_out_bias;
    case Role::MlpIn:
    case Role::MlpOut:
    case Role::MlpGate:
      return mlp_bias;
  }
  return true;
}

std::array<int64_t, 2> Architecture::module_shape(Role role) const {
  switch (role) {
    case Role::Query:
      return {query_width(), hidden};
    case Role::Key:
    case Role::Value:
      return {kv_width(), hidden};
    case Role::AttentionOut:
      return {hidden, query_width()};
    case Role::MlpIn:
    case Role::MlpGate:
      return {intermediate, hidden};
    case Role::MlpOut:
      return {hidden, intermediate};
  }
  return {hidden, hidden};
}

std::vector<std::vector<std::string>> Architecture::norms() const {
  std::vector<std::vector<std::string>> all;
  if (family->embedding_norm) all.push_back({name(family->embedding_norm)});
  for (int64_t layer = 0; layer < layers; ++layer) {
    all.push_back(names(family->attention_norm, layer));
    all.push_back(names(family->mlp_norm, layer));
  }
  if (family->final_norm) all.push_back({name(family->final_norm)});
  return all;
}

std::vector<TensorShape> Architecture::tensors() const {
  std::vector<TensorShape> all;
  add_embeddings(all, *this);
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const Role role : kRoles) {
      if (!has(role)) continue;
      const auto [outputs, inputs] = module_shape(role);
      add_linear(all, names(module_name(role), layer), {outputs, inputs}, has_bias(role));
    }
  }
  for (const auto& norm : norms()) add_linear(all, norm, {hidden}, family->norm == NormKind::Layer);
  if (family->head.pooler) add_linear(all, {name(family->head.pooler)}, {hidden, hidden}, true);
  return all;
}

}  // namespace fltac
