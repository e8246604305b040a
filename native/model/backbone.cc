#include "model/backbone.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "model/weight_source.h"

namespace fltac {
namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail(ErrorCode::Io, path.string(), ": cannot be read");
  return text.str();
}

EmbeddingWeights load_embeddings(WeightSource& source, const Architecture& a) {
  const Family& f = *a.family;
  EmbeddingWeights w;
  if (f.input == Input::Images) {
    const ImageGrid& image = a.image;
    const Parameters patches = source.parameters(
        {a.name(f.patch_embedding)}, {a.hidden, image.channels, image.patch_height, image.patch_width}, true);
    // A convolution whose stride is its kernel is a product with each patch.
    w.patches = Linear(patches.weight.reshape({a.hidden, image.patch_values()}), patches.bias);
    std::vector<at::Tensor> special;
    for (const char* token : f.special_embeddings) {
      if (token) special.push_back(source.take({a.name(token)}, {1, 1, a.hidden}).reshape({1, a.hidden}));
    }
    w.special = at::cat(special);
    w.positions = source.take({a.name(f.position_embeddings)}, {1, a.positions, a.hidden}).squeeze(0);
    return w;
  }
  w.words = source.take({a.name(f.word_embeddings)}, {a.vocab, a.hidden});
  if (f.position_embeddings) {
    w.positions = source.take({a.name(f.position_embeddings)}, {a.positions, a.hidden});
  }
  if (f.type_embeddings) w.types = source.take({a.name(f.type_embeddings)}, {a.types, a.hidden});
  return w;
}

LayerWeights load_layer(WeightSource& source, const Architecture& a, int64_t layer) {
  const auto parameters = [&](Role role) {
    const auto [outputs, inputs] = a.module_shape(role);
    return source.parameters(a.names(a.module_name(role), layer), {outputs, inputs}, a.has_bias(role));
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
  const Parameters in = parameters(Role::MlpIn);
  w.mlp_in = a.has(Role::MlpGate) ? stack({parameters(Role::MlpGate), in}).linear() : in.linear();
  w.mlp_out = parameters(Role::MlpOut).linear();
  return w;
}

Linear load_language_head(WeightSource& source, const Architecture& a, const at::Tensor& words) {
  const std::string name = a.family->head.language;
  if (a.tied_head) {
    // Some files hold the copy as well.
    source.ignore({name + ".weight"});
    return Linear::shared(words);
  }
  return source.parameters({name}, {a.vocab, a.hidden}, false).linear();
}

// A head's module where the files hold it; its input is the hidden size, its outputs what they are.
Parameters load_head_module(WeightSource& source, const Architecture& a, const HeadModule& module,
                            const std::string& where) {
  if (!module.saved) return {};
  const std::string name = module.path();
  const std::string weight = source.find({name + ".weight"}), bias = source.find({name + ".bias"});
  if (weight.empty() || bias.empty()) return {};
  Parameters head{source.take_any(weight), source.take_any(bias)};
  if (head.weight.dim() != 2 || head.weight.size(1) != a.hidden || head.bias.dim() != 1 ||
      head.bias.size(0) != head.weight.size(0)) {
    fail(ErrorCode::Shape, where, ": the classification head ", weight, " does not fit the hidden size ",
         a.hidden);
  }
  return head;
}

HeadWeights load_head(WeightSource& source, const Architecture& a, const std::string& where) {
  const Parameters dense = load_head_module(source, a, a.family->head.dense, where);
  const Parameters out = load_head_module(source, a, a.family->head.out, where);
  if (dense.weight.defined() && dense.weight.size(0) != a.hidden) {
    fail(ErrorCode::Shape, where, ": ", a.family->head.dense.path(), " has ", dense.weight.size(0),
         " outputs, expected the hidden size ", a.hidden);
  }
  return {dense.weight, dense.bias, out.weight, out.bias};
}

int64_t bytes_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

}  // namespace

std::shared_ptr<const Backbone> Backbone::load(const std::filesystem::path& folder) {
  const auto config = folder / "config.json";
  const auto backbone = std::shared_ptr<Backbone>(new Backbone());
  backbone->architecture_ = parse_architecture(read_text(config), config.string());
  const Architecture& a = backbone->architecture_;
  const SafetensorsModel model = SafetensorsModel::open(folder.string());
  WeightSource source(model, a, folder.string());

  backbone->embeddings = load_embeddings(source, a);
  for (int64_t layer = 0; layer < a.layers; ++layer) backbone->layers.push_back(load_layer(source, a, layer));
  for (const auto& names : a.norms()) {
    backbone->norms.push_back(source.norm(names, a.hidden, a.family->norm));
  }
  if (a.family->head.pooler) {
    backbone->pooler =
        source.parameters({a.name(a.family->head.pooler)}, {a.hidden, a.hidden}, true).linear();
  }
  if (a.family->head.language) {
    backbone->language_head = load_language_head(source, a, backbone->embeddings.words);
  }
  backbone->head = load_head(source, a, folder.string());
  backbone->unused_ = source.left();
  return backbone;
}

int64_t Backbone::bytes() const {
  int64_t total = pooler.bytes() + language_head.bytes() + embeddings.patches.bytes();
  for (const at::Tensor* table :
       {&embeddings.words, &embeddings.positions, &embeddings.types, &embeddings.special}) {
    total += bytes_of(*table);
  }
  for (const Norm& norm : norms) total += bytes_of(norm.gain) + bytes_of(norm.shift);
  for (const LayerWeights& w : layers) {
    for (const Linear* linear : {&w.qkv, &w.query, &w.key_value, &w.attention_out, &w.mlp_in, &w.mlp_out}) {
      total += linear->bytes();
    }
  }
  return total;
}

}  // namespace fltac
