// What one adapter consists of: its tensors in name order and where each lies in the adapter's flat vector.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/architecture.h"

namespace fltac {

// The C++ side of AdapterSpec (src/engine/types.ts).
struct AdapterSpec {
  int64_t rank = 4;
  double alpha = 16;
  double dropout = 0;
  std::vector<std::string> target_modules;
  int64_t num_labels = 2;
  bool train_head = true;

  float scaling() const { return static_cast<float>(alpha / static_cast<double>(rank)); }
};

// One LoRA pair: y += scaling * B A dropout(x). Offsets are into the flat adapter.
struct LoraSlot {
  int64_t a_offset;  // A [rank, inputs]
  int64_t b_offset;  // B [outputs, rank]
};

struct AdapterTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset;

  int64_t size() const;
};

struct AdapterLayout {
  std::vector<AdapterTensor> tensors;  // in byte order of the names
  int64_t size = 0;                    // values of one adapter
  // by layer * 6 + role; empty where the module has no LoRA
  std::vector<std::optional<LoraSlot>> slots;
  // of the trained head; -1 where the head is frozen
  int64_t head_weight = -1;  // [num_labels, hidden]
  int64_t head_bias = -1;    // [num_labels]

  const std::optional<LoraSlot>& slot(int64_t layer, Role role) const {
    return slots[static_cast<size_t>(layer) * kRoles.size() + static_cast<size_t>(role)];
  }
};

// Names are PEFT's named_parameters; target modules match as PEFT matches them (a whole name, or its end
// after a dot). Throws Usage for a rank, label count or target that does not fit the architecture.
AdapterLayout make_layout(const Architecture& architecture, const AdapterSpec& spec);

}  // namespace fltac
