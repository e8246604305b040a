#include "model/architecture.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace fltac {
namespace {

using Json = nlohmann::json;

constexpr Family kFamilies[] = {
    {
        .model_type = "bert",
        .prefix = "bert.",
        .modules = {"encoder.layer.{}.attention.self.query", "encoder.layer.{}.attention.self.key",
                    "encoder.layer.{}.attention.self.value", "encoder.layer.{}.attention.output.dense",
                    "encoder.layer.{}.intermediate.dense", "encoder.layer.{}.output.dense"},
        .attention_norm = "encoder.layer.{}.attention.output.LayerNorm",
        .mlp_norm = "encoder.layer.{}.output.LayerNorm",
        .embedding_norm = "embeddings.LayerNorm",
        .word_embeddings = "embeddings.word_embeddings.weight",
        .position_embeddings = "embeddings.position_embeddings.weight",
        .type_embeddings = "embeddings.token_type_embeddings.weight",
        .pooler = "pooler.dense",
        .head = "classifier",
        .hidden_size = "hidden_size",
        .num_layers = "num_hidden_layers",
        .num_heads = "num_attention_heads",
        .intermediate_size = "intermediate_size",
        .max_positions = "max_position_embeddings",
    },
};

// Sizes beyond these are taken for a broken file: they are ten times those of the largest published models.
constexpr int64_t kMaxSize = 1'000'000;
constexpr int64_t kMaxVocab = 10'000'000;

const Family& family_of(const Json& config, const std::string& where) {
  const auto type = config.find("model_type");
  if (type == config.end() || !type->is_string()) {
    fail(ErrorCode::Format, where, ": no \"model_type\": is this the config.json of a Hugging Face model?");
  }
  std::string known;
  for (const Family& family : kFamilies) {
    if (*type == family.model_type) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  fail(ErrorCode::Unsupported, where, ": model family \"", type->get<std::string>(),
       "\" is not supported; supported: ", known);
}

int64_t size_of(const Json& config, const char* key, int64_t most, const std::string& where) {
  const auto value = config.find(key);
  if (value == config.end()) fail(ErrorCode::Format, where, ": \"", key, "\" is missing");
  if (!value->is_number_integer() || *value < 1 || *value > most) {
    fail(ErrorCode::Format, where, ": \"", key, "\" must be a whole number from 1 to ", most, ", found ",
         value->dump());
  }
  return value->get<int64_t>();
}

double number_of(const Json& config, const char* key, double otherwise, double below,
                 const std::string& where) {
  const auto value = config.find(key);
  if (value == config.end() || value->is_null()) return otherwise;
  if (!value->is_number() || !(value->get<double>() >= 0.0) || !(value->get<double>() < below)) {
    fail(ErrorCode::Format, where, ": \"", key, "\" must be a number from 0 to below ", below, ", found ",
         value->dump());
  }
  return value->get<double>();
}

// Options that would change the arithmetic and that this engine does not have must hold their usual value.
void require_option(const Json& config, const char* key, const Json& usual, const std::string& where) {
  const auto value = config.find(key);
  if (value != config.end() && !value->is_null() && *value != usual) {
    fail(ErrorCode::Unsupported, where, ": \"", key, "\" is ", value->dump(), "; only ", usual.dump(),
         " is supported");
  }
}

}  // namespace

std::string Architecture::name(const char* pattern, int64_t layer) const {
  std::string text = std::string(family->prefix) + pattern;
  const auto at = text.find("{}");
  if (at != std::string::npos) text.replace(at, 2, std::to_string(layer));
  return text;
}

std::string Architecture::module(Role role, int64_t layer) const {
  return name(family->modules[static_cast<size_t>(role)], layer);
}

std::array<int64_t, 2> Architecture::module_shape(Role role) const {
  if (role == Role::MlpIn) return {intermediate, hidden};
  if (role == Role::MlpOut) return {hidden, intermediate};
  return {hidden, hidden};
}

std::vector<TensorShape> Architecture::tensors() const {
  std::vector<TensorShape> all;
  const auto add = [&](const std::string& module, std::vector<int64_t> shape) {
    all.push_back({module + ".weight", shape});
    all.push_back({module + ".bias", {shape.front()}});
  };
  all.push_back({name(family->word_embeddings), {vocab, hidden}});
  all.push_back({name(family->position_embeddings), {positions, hidden}});
  all.push_back({name(family->type_embeddings), {types, hidden}});
  add(name(family->embedding_norm), {hidden});
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const Role role : kRoles) {
      const auto shape = module_shape(role);
      add(module(role, layer), {shape[0], shape[1]});
    }
    add(name(family->attention_norm, layer), {hidden});
    add(name(family->mlp_norm, layer), {hidden});
  }
  add(name(family->pooler), {hidden, hidden});
  return all;
}

Architecture parse_architecture(const std::string& json, const std::string& where) {
  Json config;
  try {
    config = Json::parse(json);
  } catch (const Json::exception& e) {
    fail(ErrorCode::Format, where, ": not valid JSON: ", e.what());
  }
  if (!config.is_object())
    fail(ErrorCode::Format, where, ": expected a JSON object, found ", config.type_name());
  Architecture a;
  a.family = &family_of(config, where);
  a.hidden = size_of(config, a.family->hidden_size, kMaxSize, where);
  a.layers = size_of(config, a.family->num_layers, 10'000, where);
  a.heads = size_of(config, a.family->num_heads, kMaxSize, where);
  a.intermediate = size_of(config, a.family->intermediate_size, kMaxSize, where);
  a.vocab = size_of(config, "vocab_size", kMaxVocab, where);
  a.positions = size_of(config, a.family->max_positions, kMaxVocab, where);
  a.types = config.contains("type_vocab_size") ? size_of(config, "type_vocab_size", kMaxSize, where) : 2;
  if (a.hidden % a.heads != 0) {
    fail(ErrorCode::Format, where, ": \"", a.family->hidden_size, "\" (", a.hidden,
         ") is not a multiple of \"", a.family->num_heads, "\" (", a.heads, ")");
  }
  require_option(config, "hidden_act", "gelu", where);
  require_option(config, "position_embedding_type", "absolute", where);
  require_option(config, "is_decoder", false, where);
  require_option(config, "add_cross_attention", false, where);
  // Defaults are transformers' BertConfig.
  a.norm_eps = static_cast<float>(number_of(config, "layer_norm_eps", 1e-12, 1.0, where));
  a.hidden_dropout = number_of(config, "hidden_dropout_prob", 0.1, 1.0, where);
  a.attention_dropout = number_of(config, "attention_probs_dropout_prob", 0.1, 1.0, where);
  a.head_dropout = number_of(config, "classifier_dropout", a.hidden_dropout, 1.0, where);
  a.initializer_range = number_of(config, "initializer_range", 0.02, 100.0, where);
  return a;
}

}  // namespace fltac
