#include "model/backbone.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <numeric>
#include <sstream>
#include <utility>

#include "core/cpu_memory.h"
#include "core/error.h"
#include "model/weight_source.h"

namespace fltac {
namespace {

// Weights of products are held in both of oneDNN's layouts up to this many bytes of one copy. A plain copy is
// 3 to 16 % slower for the rows of a training step; a second copy of a large model may not fit. By size and
// not by free memory, so that the same model gives the same bits everywhere.
constexpr int64_t kBothLayouts = int64_t{2} << 30;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail(ErrorCode::Io, path.string(), ": cannot be read");
  return text.str();
}

// The devices that are named, one for each part, or none.
std::vector<Device> find_devices(const std::vector<std::string>& names, const Architecture& a) {
  const size_t parts = static_cast<size_t>(a.layers) + 2;
  if (!names.empty() && names.size() != parts) {
    fail(ErrorCode::Usage, "expected a device for each of ", parts, " parts, found ", names.size());
  }
  std::vector<Device> devices;
  for (const std::string& name : names) devices.push_back(find_device(name));
  return devices;
}

bool any_cuda(const std::vector<Device>& devices) {
  return std::any_of(devices.begin(), devices.end(),
                     [](const Device& device) { return device.memory.is_cuda(); });
}

EmbeddingWeights load_embeddings(WeightSource& source, const Architecture& a, const WeightForm& form) {
  const Family& f = *a.family;
  EmbeddingWeights w;
  if (f.input == Input::Images) {
    const ImageGrid& image = a.image;
    // A convolution whose stride is its kernel is a product with each patch.
    w.patches = source.linear({{{a.name(f.patch_embedding)},
                                {a.hidden, image.channels, image.patch_height, image.patch_width},
                                true}},
                              form);
    std::vector<at::Tensor> special;
    for (const char* token : f.special_embeddings) {
      if (!token) continue;
      special.push_back(source.take({a.name(token)}, {1, 1, a.hidden}, form.matrix()).reshape({1, a.hidden}));
    }
    w.special = at::cat(special);
    w.positions =
        source.take({a.name(f.position_embeddings)}, {1, a.positions, a.hidden}, form.matrix()).squeeze(0);
    return w;
  }
  w.words = source.take({a.name(f.word_embeddings)}, {a.vocab, a.hidden}, form.matrix());
  if (f.position_embeddings) {
    w.positions = source.take({a.name(f.position_embeddings)}, {a.positions, a.hidden}, form.matrix());
  }
  if (f.type_embeddings) {
    w.types = source.take({a.name(f.type_embeddings)}, {a.types, a.hidden}, form.matrix());
  }
  return w;
}

LayerWeights load_layer(WeightSource& source, const Architecture& a, int64_t layer, const WeightForm& form) {
  const auto linear = [&](const std::vector<Role>& roles) {
    std::vector<ModuleShape> modules;
    for (const Role role : roles) {
      const auto [outputs, inputs] = a.module_shape(role);
      modules.push_back({a.names(a.module_name(role), layer), {outputs, inputs}, a.has_bias(role)});
    }
    return source.linear(modules, form);
  };
  LayerWeights w;
  if (layer == a.layers - 1) {
    w.query = linear({Role::Query});
    w.key_value = linear({Role::Key, Role::Value});
  } else {
    w.qkv = linear({Role::Query, Role::Key, Role::Value});
  }
  w.attention_out = linear({Role::AttentionOut});
  w.mlp_in = a.has(Role::MlpGate) ? linear({Role::MlpGate, Role::MlpIn}) : linear({Role::MlpIn});
  w.mlp_out = linear({Role::MlpOut});
  return w;
}

// `words` lie on `from`.
Linear load_language_head(WeightSource& source, const Architecture& a, const at::Tensor& words,
                          const Device& from, WeightForm form) {
  const std::string name = a.family->head.language;
  if (!a.tied_head) return source.linear({{{name}, {a.vocab, a.hidden}, false}}, form);
  // Some files hold the copy as well.
  source.ignore({name + ".weight"});
  if (from == form.device) return Linear::shared(words, form);
  form.both_layouts = false;
  return {move(words, from, form.device), {}, form};
}

struct HeadParameters {
  at::Tensor weight, bias;
};

// A head's module where the files hold it; its input is the hidden size, its outputs what they are.
HeadParameters load_head_module(WeightSource& source, const Architecture& a, const HeadModule& module,
                                const std::string& where) {
  if (!module.saved) return {};
  const std::string name = module.path();
  const std::string weight = source.find({name + ".weight"}), bias = source.find({name + ".bias"});
  if (weight.empty() || bias.empty()) return {};
  HeadParameters head{source.take_any(weight), source.take_any(bias)};
  if (head.weight.dim() != 2 || head.weight.size(1) != a.hidden || head.bias.dim() != 1 ||
      head.bias.size(0) != head.weight.size(0)) {
    fail(ErrorCode::Shape, where, ": the classification head ", weight, " does not fit the hidden size ",
         a.hidden);
  }
  return head;
}

HeadWeights load_head(WeightSource& source, const Architecture& a, const std::string& where) {
  const HeadParameters dense = load_head_module(source, a, a.family->head.dense, where);
  const HeadParameters out = load_head_module(source, a, a.family->head.out, where);
  if (dense.weight.defined() && dense.weight.size(0) != a.hidden) {
    fail(ErrorCode::Shape, where, ": ", a.family->head.dense.path(), " has ", dense.weight.size(0),
         " outputs, expected the hidden size ", a.hidden);
  }
  return {dense.weight, dense.bias, out.weight, out.bias};
}

int64_t total_of(const std::vector<int64_t>& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

int64_t bytes_of(std::initializer_list<const at::Tensor*> tensors) {
  int64_t total = 0;
  for (const at::Tensor* tensor : tensors)
    total += tensor->defined() ? static_cast<int64_t>(tensor->nbytes()) : 0;
  return total;
}

int64_t bytes_of(const Norm& norm) { return bytes_of({&norm.gain, &norm.shift}); }

int64_t bytes_of(const EmbeddingWeights& w) {
  return bytes_of({&w.words, &w.positions, &w.types, &w.special}) + w.patches.bytes();
}

int64_t bytes_of(const LayerWeights& w) {
  int64_t total = 0;
  for (const Linear* linear : {&w.qkv, &w.query, &w.key_value, &w.attention_out, &w.mlp_in, &w.mlp_out}) {
    total += linear->bytes();
  }
  return total;
}

}  // namespace

// Fills a backbone part by part.
class BackboneLoader {
 public:
  BackboneLoader(Backbone& backbone, const SafetensorsModel& files, const std::string& where, bool tf32)
      : backbone_(backbone),
        a_(backbone.architecture_),
        norms_(a_.norms()),
        source_(files, a_, where),
        where_(where),
        both_layouts_(total_of(fltac::part_bytes(a_, backbone.weight_type_.value_bytes())) <= kBothLayouts),
        tf32_(tf32) {}

  void load(const Control& control) {
    const auto parts = static_cast<int64_t>(backbone_.placement_.devices.size());
    for (int64_t part = 0; part < parts; ++part) {
      control.check();
      backbone_.part_bytes_.push_back(load_part(part));
      // What a part needed while it was laid out.
      release_cached_cpu_memory();
      control.progress(part + 1, parts);
    }
    backbone_.unused_ = source_.left();
  }

 private:
  WeightForm form(const Device& device) const {
    return {device, backbone_.weight_type_.dtype, both_layouts_, tf32_};
  }

  // Gives the bytes it holds.
  int64_t load_part(int64_t part) {
    if (part == 0) return load_input();
    return part <= a_.layers ? load_layer_part(part - 1) : load_output();
  }

  int64_t load_input() {
    const WeightForm on = form(backbone_.placement_.embedding());
    backbone_.embeddings = load_embeddings(source_, a_, on);
    return bytes_of(backbone_.embeddings) + load_norm(on);
  }

  int64_t load_layer_part(int64_t layer) {
    const WeightForm on = form(backbone_.placement_.layer(layer));
    backbone_.layers.push_back(load_layer(source_, a_, layer, on));
    return bytes_of(backbone_.layers.back()) + load_norm(on) + load_norm(on);
  }

  int64_t load_output() {
    const WeightForm on = form(backbone_.placement_.output());
    const HeadRow& head = a_.family->head;
    if (head.pooler) {
      backbone_.pooler = source_.linear({{{a_.name(head.pooler)}, {a_.hidden, a_.hidden}, true}}, on);
    }
    if (head.language) {
      backbone_.language_head =
          load_language_head(source_, a_, backbone_.embeddings.words, backbone_.placement_.embedding(), on);
    }
    backbone_.head = load_head(source_, a_, where_);
    return backbone_.pooler.bytes() + backbone_.language_head.bytes();
  }

  // The next norm in the order in which they are applied.
  int64_t load_norm(const WeightForm& on) {
    const auto& names = norms_[backbone_.norms.size()];
    backbone_.norms.push_back(source_.norm(names, a_.hidden, a_.family->norm, on));
    return bytes_of(backbone_.norms.back());
  }

  Backbone& backbone_;
  const Architecture& a_;
  std::vector<std::vector<std::string>> norms_;
  WeightSource source_;
  std::string where_;
  bool both_layouts_;
  const bool tf32_;
};

std::shared_ptr<const Backbone> Backbone::load(const std::filesystem::path& folder,
                                               const LoadOptions& options, const Control& control) {
  const auto config = folder / "config.json";
  const auto backbone = std::shared_ptr<Backbone>(new Backbone());
  backbone->folder_ = folder.string();
  backbone->architecture_ = parse_architecture(read_text(config), config.string());
  const Architecture& a = backbone->architecture_;
  const SafetensorsModel files = SafetensorsModel::open(folder.string());
  const std::vector<Device> devices = find_devices(options.devices, a);
  const bool cuda = devices.empty() ? cuda_devices() > 0 : any_cuda(devices);
  backbone->weight_type_ = choose_weight_type(options.dtype, files, cuda);
  backbone->placement_ = devices.empty()
                             ? plan_placement(fltac::part_bytes(a, backbone->weight_type_.value_bytes()),
                                              free_cuda_memory(), Device())
                             : Placement{devices};
  BackboneLoader(*backbone, files, folder.string(), options.tf32).load(control);
  return backbone;
}

int64_t Backbone::bytes() const { return total_of(part_bytes_); }

}  // namespace fltac
