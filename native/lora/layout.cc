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

bool is_target(const std::string& module, const AdapterSpec& spec) {
  return std::any_of(spec.target_modules.begin(), spec.target_modules.end(),
                     [&](const std::string& target) { return matches(module, target); });
}

std::string module_names(const Architecture& architecture) {
  std::string names;
  for (const Role role : kRoles) {
    const std::string module = architecture.module(role, 0);
    names += (names.empty() ? "" : ", ") + module.substr(module.find("0.") + 2);
  }
  return names;
}

void check_targets(const Architecture& architecture, const AdapterSpec& spec) {
  if (spec.target_modules.empty()) {
    fail(ErrorCode::Usage, "target_modules is empty; this model has ", module_names(architecture));
  }
  for (const std::string& target : spec.target_modules) {
    bool found = false;
    for (int64_t layer = 0; layer < architecture.layers && !found; ++layer) {
      found = std::any_of(kRoles.begin(), kRoles.end(),
                          [&](Role role) { return matches(architecture.module(role, layer), target); });
    }
    if (!found) {
      fail(ErrorCode::Usage, "target module \"", target, "\" is not in this model; it has ",
           module_names(architecture));
    }
    // PEFT would put LoRA there too; leaving it out without a word would train another model than the user
    // named.
    const std::string pooler = architecture.name(architecture.family->pooler);
    if (matches(pooler, target)) {
      fail(ErrorCode::Unsupported, "target module \"", target, "\" also names ", pooler,
           ", on which LoRA is not supported; use longer names, such as \"intermediate.dense\"");
    }
  }
}

}  // namespace

int64_t AdapterTensor::size() const {
  int64_t values = 1;
  for (const int64_t d : shape) values *= d;
  return values;
}

AdapterLayout make_layout(const Architecture& architecture, const AdapterSpec& spec) {
  if (spec.rank < 1 || spec.rank > architecture.hidden) {
    fail(ErrorCode::Usage, "the LoRA rank must lie between 1 and the hidden size ", architecture.hidden,
         ", found ", spec.rank);
  }
  if (spec.num_labels < 2 || spec.num_labels > 1'000'000) {
    fail(ErrorCode::Usage, "a classification head needs 2 or more labels, found ", spec.num_labels);
  }
  check_targets(architecture, spec);

  const std::string base = "base_model.model.";
  const std::string head = base + architecture.family->head + ".modules_to_save.default.";
  std::map<std::string, std::vector<int64_t>> shapes;
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    for (const Role role : kRoles) {
      const std::string module = architecture.module(role, layer);
      if (!is_target(module, spec)) continue;
      const auto [outputs, inputs] = architecture.module_shape(role);
      shapes[base + module + ".lora_A.default.weight"] = {spec.rank, inputs};
      shapes[base + module + ".lora_B.default.weight"] = {outputs, spec.rank};
    }
  }
  if (spec.train_head) {
    shapes[head + "weight"] = {spec.num_labels, architecture.hidden};
    shapes[head + "bias"] = {spec.num_labels};
  }

  AdapterLayout layout;
  std::map<std::string, int64_t> offsets;
  for (const auto& [name, shape] : shapes) {
    layout.tensors.push_back({name, shape, layout.size});
    offsets[name] = layout.size;
    layout.size += layout.tensors.back().size();
  }
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    for (const Role role : kRoles) {
      const auto a = offsets.find(base + architecture.module(role, layer) + ".lora_A.default.weight");
      const auto b = offsets.find(base + architecture.module(role, layer) + ".lora_B.default.weight");
      layout.slots.push_back(a == offsets.end() ? std::nullopt
                                                : std::optional(LoraSlot{a->second, b->second}));
    }
  }
  if (spec.train_head) {
    layout.head_weight = offsets[head + "weight"];
    layout.head_bias = offsets[head + "bias"];
  }
  return layout;
}

}  // namespace fltac
