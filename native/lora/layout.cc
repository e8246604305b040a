#include "lora/layout.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace fltac {
namespace {

bool matches(const std::string& module, const std::string& target) {
  if (module == target) return true;
  const std::string tail = "." + target;
  return module.size() > tail.size() && module.compare(module.size() - tail.size(), tail.size(), tail) == 0;
}

bool is_target(const Architecture& architecture, Role role, int64_t layer, const std::string& target) {
  if (!architecture.has(role)) return false;
  const auto names = architecture.names(architecture.module_name(role), layer);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& module) { return matches(module, target); });
}

bool is_target(const Architecture& architecture, Role role, int64_t layer, const AdapterSpec& spec) {
  return std::any_of(spec.target_modules.begin(), spec.target_modules.end(),
                     [&](const std::string& target) { return is_target(architecture, role, layer, target); });
}

std::string module_names(const Architecture& architecture) {
  std::string names;
  for (const Role role : kRoles) {
    if (!architecture.has(role)) continue;
    const std::string module = architecture.module(role, 0);
    names += (names.empty() ? "" : ", ") + module.substr(module.find("0.") + 2);
  }
  return names;
}

// The linear modules outside the layers.
std::vector<std::string> other_modules(const Architecture& architecture) {
  const HeadRow& head = architecture.family->head;
  std::vector<std::string> names;
  if (head.pooler) names.push_back(architecture.name(head.pooler));
  for (const HeadModule& module : {head.dense, head.out}) {
    if (module.saved) names.push_back(module.path());
  }
  if (head.language) names.emplace_back(head.language);
  return names;
}

void check_target(const Architecture& architecture, const std::string& target) {
  bool found = false;
  for (int64_t layer = 0; layer < architecture.layers && !found; ++layer) {
    found = std::any_of(kRoles.begin(), kRoles.end(),
                        [&](Role role) { return is_target(architecture, role, layer, target); });
  }
  // PEFT would put LoRA there too; leaving it out without a word would train another model than the user
  // named.
  for (const std::string& other : other_modules(architecture)) {
    if (!matches(other, target)) continue;
    fail(ErrorCode::Unsupported, "target module \"", target, found ? "\" also names " : "\" names ", other,
         ", on which LoRA is not supported; this model's layers have ", module_names(architecture));
  }
  if (!found) {
    fail(ErrorCode::Usage, "target module \"", target, "\" is not in this model; it has ",
         module_names(architecture));
  }
}

void check_labels(const Architecture& architecture, const AdapterSpec& spec) {
  if (architecture.family->output != Output::Classes) return;
  if (spec.num_labels < 2 || spec.num_labels > 1'000'000) {
    fail(ErrorCode::Usage, "a classification head needs 2 or more labels, found ", spec.num_labels);
  }
}

void check_lora(const Architecture& architecture, const AdapterSpec& spec) {
  if (spec.rank < 1 || spec.rank > architecture.hidden) {
    fail(ErrorCode::Usage, "the LoRA rank must lie between 1 and the hidden size ", architecture.hidden,
         ", found ", spec.rank);
  }
  if (architecture.family->output != Output::Classes && spec.train_head) {
    fail(ErrorCode::Unsupported, "the language-model head of ", architecture.family->model_type,
         " stays frozen; set train_head to false");
  }
  if (spec.target_modules.empty()) {
    fail(ErrorCode::Usage, "target_modules is empty; this model has ", module_names(architecture));
  }
  for (const std::string& target : spec.target_modules) check_target(architecture, target);
}

const std::string kBase = "base_model.model.";

std::string lora_name(const std::string& module, const char* factor) {
  return kBase + module + ".lora_" + factor + ".default.weight";
}

// The name of a module of the head, up to ".weight" or ".bias": in a whole model, or PEFT's of one that it
// trains whole.
std::string head_name(const AdapterSpec& spec, const HeadModule& module) {
  if (spec.full) return module.path();
  const std::string inner = module.inner ? std::string(".") + module.inner : "";
  return kBase + module.saved + ".modules_to_save.default" + inner;
}

// Places the modules of the head: in the adapter by name where it is trained, else one after another.
class HeadPlacer {
 public:
  HeadPlacer(AdapterLayout& layout, const std::map<std::string, int64_t>& offsets, const AdapterSpec& spec)
      : layout_(layout), offsets_(offsets), spec_(spec) {}

  std::optional<HeadSlot> place(const HeadModule& module, int64_t outputs, int64_t inputs) {
    if (!module.saved) return std::nullopt;
    if (spec_.trains_head()) {
      const std::string name = head_name(spec_, module);
      return HeadSlot{offsets_.at(name + ".weight"), offsets_.at(name + ".bias"), outputs, inputs};
    }
    const int64_t weight = layout_.frozen_head_size;
    layout_.frozen_head_size += outputs * (inputs + 1);
    return HeadSlot{weight, weight + outputs * inputs, outputs, inputs};
  }

 private:
  AdapterLayout& layout_;
  const std::map<std::string, int64_t>& offsets_;
  const AdapterSpec& spec_;
};

// What a layout holds, by name.
struct Place {
  std::vector<int64_t> shape;
  std::string also = {};
};
using Shapes = std::map<std::string, Place>;

void add_lora(Shapes& shapes, const Architecture& architecture, const AdapterSpec& spec) {
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    for (const Role role : kRoles) {
      if (!is_target(architecture, role, layer, spec)) continue;
      const auto [outputs, inputs] = architecture.module_shape(role);
      const std::vector<std::string> modules = architecture.names(architecture.module_name(role), layer);
      const auto also = [&](const char* factor) {
        return modules.size() > 1 ? lora_name(modules.back(), factor) : std::string();
      };
      shapes[lora_name(modules.front(), "A")] = {{spec.rank, inputs}, also("A")};
      shapes[lora_name(modules.front(), "B")] = {{outputs, spec.rank}, also("B")};
    }
  }
}

void add_backbone(Shapes& shapes, const Architecture& architecture) {
  for (const TensorShape& tensor : full_tensors(architecture)) {
    shapes[tensor.name] = {tensor.shape, tensor.also};
  }
}

}  // namespace

int64_t AdapterTensor::size() const {
  int64_t values = 1;
  for (const int64_t d : shape) values *= d;
  return values;
}

std::vector<TensorShape> full_tensors(const Architecture& architecture) {
  std::vector<TensorShape> all = architecture.tensors();
  const char* language = architecture.family->head.language;
  if (language && !architecture.tied_head) {
    all.push_back({std::string(language) + ".weight", {architecture.vocab, architecture.hidden}});
  }
  return all;
}

AdapterLayout make_layout(const Architecture& architecture, const AdapterSpec& spec) {
  check_labels(architecture, spec);
  if (!spec.full) check_lora(architecture, spec);
  const HeadRow& head = architecture.family->head;
  const int64_t hidden = architecture.hidden;
  Shapes shapes;
  if (spec.full) {
    add_backbone(shapes, architecture);
  } else {
    add_lora(shapes, architecture, spec);
  }
  const auto add_head = [&](const HeadModule& module, int64_t outputs) {
    if (!module.saved || !spec.trains_head()) return;
    shapes[head_name(spec, module) + ".weight"] = {{outputs, hidden}};
    shapes[head_name(spec, module) + ".bias"] = {{outputs}};
  };
  add_head(head.dense, hidden);
  add_head(head.out, spec.num_labels);

  AdapterLayout layout;
  std::map<std::string, int64_t> offsets;
  for (const auto& [name, place] : shapes) {
    layout.tensors.push_back({name, place.shape, layout.size, place.also});
    offsets[name] = layout.size;
    layout.size += layout.tensors.back().size();
  }
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    for (const Role role : kRoles) {
      if (!spec.full && is_target(architecture, role, layer, spec)) {
        const std::string module = architecture.module(role, layer);
        layout.slots.push_back(
            LoraSlot{offsets.at(lora_name(module, "A")), offsets.at(lora_name(module, "B"))});
      } else {
        layout.slots.push_back(std::nullopt);
      }
    }
  }
  HeadPlacer placer(layout, offsets, spec);
  layout.head_dense = placer.place(head.dense, hidden, hidden);
  layout.head_out = placer.place(head.out, spec.num_labels, hidden);
  return layout;
}

}  // namespace fltac
