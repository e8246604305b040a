// parse_architecture: config.json to Architecture.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/parse_json.h"
#include "model/architecture.h"

namespace fltac {
namespace {

using Json = nlohmann::json;

// Sizes beyond these are taken for a broken file: they are ten times those of the largest published models.
constexpr int64_t kMaxSize = 1'000'000;
constexpr int64_t kMaxVocab = 10'000'000;
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxImage = 16'384;

// A JSON object whose name errors begin with.
class Config {
 public:
  Config(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  const std::string& where() const { return where_; }

  // The value of a key; null where it is missing, null, or `key` itself is.
  const Json* find(const char* key) const {
    if (!key) return nullptr;
    const auto value = json_.find(key);
    return value == json_.end() || value->is_null() ? nullptr : &*value;
  }

  bool contains(const char* key) const { return json_.contains(key); }

  int64_t size(const char* key, int64_t most) const {
    const Json* value = find(key);
    if (!value) fail(ErrorCode::Format, where_, ": \"", key, "\" is missing");
    return checked_size(*value, key, 1, most);
  }

  int64_t size_or(const char* key, int64_t least, int64_t most, int64_t otherwise) const {
    const Json* value = find(key);
    return value ? checked_size(*value, key, least, most) : otherwise;
  }

  double number(const char* key, double otherwise, double below) const {
    const Json* value = find(key);
    if (!value) return otherwise;
    if (!value->is_number() || !(value->get<double>() >= 0.0) || !(value->get<double>() < below)) {
      fail(ErrorCode::Format, where_, ": \"", key, "\" must be a number from 0 to below ", below, ", found ",
           shown(*value));
    }
    return value->get<double>();
  }

  // A number above 0.
  double positive(const char* key) const {
    const Json* value = find(key);
    if (!value) fail(ErrorCode::Format, where_, ": \"", key, "\" is missing");
    if (!value->is_number() || !(value->get<double>() > 0.0) || !(value->get<double>() < 1e12)) {
      fail(ErrorCode::Format, where_, ": \"", key, "\" must be a number above 0, found ", shown(*value));
    }
    return value->get<double>();
  }

  bool flag(const char* key, bool otherwise) const {
    const Json* value = find(key);
    if (!value) return otherwise;
    if (!value->is_boolean()) {
      fail(ErrorCode::Format, where_, ": \"", key, "\" must be true or false, found ", shown(*value));
    }
    return value->get<bool>();
  }

  // One size for both sides, or [height, width].
  std::array<int64_t, 2> sides(const char* key) const {
    const Json* value = find(key);
    if (!value) fail(ErrorCode::Format, where_, ": \"", key, "\" is missing");
    if (value->is_array() && value->size() == 2) {
      return {checked_size((*value)[0], key, 1, kMaxImage), checked_size((*value)[1], key, 1, kMaxImage)};
    }
    const int64_t side = checked_size(*value, key, 1, kMaxImage);
    return {side, side};
  }

  // Options that would change the arithmetic and that this engine does not have must hold their usual value.
  void require(const char* key, const Json& usual) const {
    const Json* value = find(key);
    if (value && *value != usual) {
      fail(ErrorCode::Unsupported, where_, ": \"", key, "\" is ", shown(*value), "; only ", shown(usual),
           " is supported");
    }
  }

 private:
  int64_t checked_size(const Json& value, const char* key, int64_t least, int64_t most) const {
    if (!value.is_number_integer() || value < least || value > most) {
      fail(ErrorCode::Format, where_, ": \"", key, "\" must be a whole number from ", least, " to ", most,
           ", found ", shown(value));
    }
    return value.get<int64_t>();
  }

  const Json& json_;
  std::string where_;
};

const Family& family_of(const Config& config) {
  const Json* type = config.find("model_type");
  if (!type || !type->is_string()) {
    fail(ErrorCode::Format, config.where(),
         ": no \"model_type\": is this the config.json of a Hugging Face model?");
  }
  std::string known;
  for (const Family& family : families()) {
    if (*type == family.model_type) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  fail(ErrorCode::Unsupported, config.where(), ": model family ", shown(*type),
       " is not supported; supported: ", known);
}

void read_heads(const Config& config, Architecture& a) {
  const Family& f = *a.family;
  a.heads = config.size(f.keys.heads, kMaxSize);
  a.kv_heads = a.heads;
  const bool own_head_dim = f.positions == Positions::Rotary && config.find("head_dim");
  if (!own_head_dim && a.hidden % a.heads != 0) {
    fail(ErrorCode::Format, config.where(), ": \"", f.keys.hidden, "\" (", a.hidden,
         ") is not a multiple of \"", f.keys.heads, "\" (", a.heads, ")");
  }
  a.head_dim = own_head_dim ? config.size("head_dim", kMaxSize) : a.hidden / a.heads;
  if (f.positions != Positions::Rotary) return;
  // A missing key means the configuration class's own default, null as many as heads.
  const bool silent = f.defaults.kv_heads > 0 && !config.contains("num_key_value_heads");
  a.kv_heads = config.size_or("num_key_value_heads", 1, kMaxSize, silent ? f.defaults.kv_heads : a.heads);
  if (a.heads % a.kv_heads != 0) {
    fail(ErrorCode::Format, config.where(), ": \"", f.keys.heads, "\" (", a.heads,
         ") is not a multiple of \"num_key_value_heads\" (", a.kv_heads, ")");
  }
  if (a.head_dim % 2 != 0) {
    fail(ErrorCode::Format, config.where(), ": rotary positions turn pairs, but the head size is ",
         a.head_dim);
  }
}

void read_tokens(const Config& config, Architecture& a) {
  const Family& f = *a.family;
  a.vocab = config.size("vocab_size", kMaxVocab);
  a.positions = f.defaults.positions > 0
                    ? config.size_or("max_position_embeddings", 1, kMaxVocab, f.defaults.positions)
                    : config.size("max_position_embeddings", kMaxVocab);
  if (f.type_embeddings) a.types = config.size_or("type_vocab_size", 1, kMaxSize, 2);
  if (f.positions != Positions::LearnedAfterPadding) return;
  a.padding_id = config.size_or("pad_token_id", 0, kMaxVocab, 1);
  a.first_position = a.padding_id + 1;
  if (a.max_tokens() < 1) {
    fail(ErrorCode::Format, config.where(), ": positions start after \"pad_token_id\" (", a.padding_id,
         "), which leaves none of \"max_position_embeddings\" (", a.positions, ")");
  }
}

void read_images(const Config& config, Architecture& a) {
  const auto [height, width] = config.sides("image_size");
  const auto [patch_height, patch_width] = config.sides("patch_size");
  // The preprocessing makes RGB.
  config.require("num_channels", 3);
  if (patch_height > height || patch_width > width) {
    fail(ErrorCode::Format, config.where(), ": \"patch_size\" (", patch_height, " x ", patch_width,
         ") is larger than \"image_size\" (", height, " x ", width, ")");
  }
  const auto& special = a.family->special_embeddings;
  a.image = {
      height,
      width,
      patch_height,
      patch_width,
      3,
      std::count_if(special.begin(), special.end(), [](const char* token) { return token != nullptr; })};
  a.positions = a.image.special + a.image.patches();
}

RotaryScaling scaling_of(const Config& rope, const char* key) {
  const Json* type = rope.find(key);
  const std::string name = type && type->is_string() ? type->get<std::string>() : "";
  if (!type || name == "default") return RotaryScaling::None;
  if (name == "linear") return RotaryScaling::Linear;
  if (name == "llama3") return RotaryScaling::Llama3;
  fail(ErrorCode::Unsupported, rope.where(), ": \"", key, "\" is ", shown(*type),
       "; supported: \"default\", \"linear\", \"llama3\"");
}

// Transformers 5 writes everything into "rope_parameters"; before, "rope_theta" stood beside "rope_scaling",
// whose "rope_type" was called "type" at first.
void read_rotary(const Config& config, Architecture& a) {
  const Json none = Json::object();
  const Json* given = config.find("rope_parameters");
  const char* key = given ? "rope_parameters" : "rope_scaling";
  if (!given) given = config.find("rope_scaling");
  if (given && !given->is_object()) {
    fail(ErrorCode::Format, config.where(), ": \"", key, "\" must be an object, found ", shown(*given));
  }
  const Config rope(given ? *given : none, config.where() + ": \"" + key + "\"");
  const Config& theta = rope.find("rope_theta") ? rope : config;
  if (theta.find("rope_theta")) a.rotary.theta = theta.positive("rope_theta");
  for (const Config* place : {&rope, &config}) place->require("partial_rotary_factor", 1.0);
  a.rotary.scaling = scaling_of(rope, rope.find("rope_type") ? "rope_type" : "type");
  if (a.rotary.scaling == RotaryScaling::None) return;
  a.rotary.factor = rope.positive("factor");
  if (a.rotary.scaling != RotaryScaling::Llama3) return;
  a.rotary.low = rope.positive("low_freq_factor");
  a.rotary.high = rope.positive("high_freq_factor");
  if (!(a.rotary.low < a.rotary.high)) {
    fail(ErrorCode::Format, rope.where(), ": \"low_freq_factor\" (", a.rotary.low,
         ") must be below \"high_freq_factor\" (", a.rotary.high, ")");
  }
  a.rotary.positions = rope.find("original_max_position_embeddings")
                           ? rope.positive("original_max_position_embeddings")
                           : static_cast<double>(a.positions);
}

// The window that transformers takes where "sliding_window" is missing; null means none.
constexpr int64_t kUsualWindow = 4096;

void read_window(const Config& config, Architecture& a) {
  const Window rule = a.family->window;
  const bool on = rule == Window::All || (rule == Window::Upper && config.flag("use_sliding_window", false));
  if (!on) return;
  const int64_t otherwise = config.contains("sliding_window") ? 0 : kUsualWindow;
  a.window = config.size_or("sliding_window", 1, kMaxVocab, otherwise);
  if (rule == Window::Upper) a.window_from = config.size_or("max_window_layers", 0, kMaxLayers, 28);
}

// Transformers 5 may list each layer's kind of attention: it must be the one that the other keys say.
void check_layer_types(const Config& config, const Architecture& a) {
  const Json* types = config.find("layer_types");
  if (!types) return;
  Json expected = Json::array();
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    expected.push_back(a.window_of(layer) > 0 ? "sliding_attention" : "full_attention");
  }
  if (*types != expected) {
    fail(ErrorCode::Unsupported, config.where(), ": \"layer_types\" is ", shown(*types),
         "; only the layers that the other keys say are supported, ", shown(expected));
  }
}

bool bias_of(const Config& config, const BiasRule& rule) {
  return rule.key ? config.flag(rule.key, rule.usual) : rule.usual;
}

void read_options(const Config& config, Architecture& a) {
  const Family& f = *a.family;
  config.require(f.keys.activation, f.activation);
  config.require("position_embedding_type", "absolute");
  config.require("is_decoder", false);
  config.require("add_cross_attention", false);
  a.qkv_bias = bias_of(config, f.qkv_bias);
  a.attention_out_bias = bias_of(config, f.attention_out_bias);
  a.mlp_bias = bias_of(config, f.mlp_bias);
  a.norm_eps = static_cast<float>(config.number(f.keys.norm_eps, f.defaults.norm_eps, 1.0));
  const double hidden = f.keys.hidden_dropout ? f.defaults.dropout : 0.0;
  a.hidden_dropout = config.number(f.keys.hidden_dropout, hidden, 1.0);
  a.attention_dropout = config.number(f.keys.attention_dropout, f.defaults.dropout, 1.0);
  a.head_dropout = config.number(
      f.keys.head_dropout, f.defaults.head_dropout < 0 ? a.hidden_dropout : f.defaults.head_dropout, 1.0);
  a.initializer_range = config.number("initializer_range", 0.02, 100.0);
  a.tied_head = f.head.language && config.flag("tie_word_embeddings", false);
}

}  // namespace

Architecture parse_architecture(const std::string& json, const std::string& where) {
  const Json parsed = parse_json(json, where);
  if (!parsed.is_object())
    fail(ErrorCode::Format, where, ": expected a JSON object, found ", parsed.type_name());
  const Config config(parsed, where);
  Architecture a;
  a.family = &family_of(config);
  const ConfigKeys& keys = a.family->keys;
  a.hidden = config.size(keys.hidden, kMaxSize);
  a.layers = config.size(keys.layers, kMaxLayers);
  a.intermediate = config.size(keys.intermediate, kMaxSize);
  read_heads(config, a);
  if (a.family->input == Input::Images) {
    read_images(config, a);
  } else {
    read_tokens(config, a);
  }
  if (a.family->positions == Positions::Rotary) read_rotary(config, a);
  read_window(config, a);
  check_layer_types(config, a);
  read_options(config, a);
  return a;
}

}  // namespace fltac
