// What one adapter consists of: its tensors in name order and where each lies in the adapter's flat vector.
// With full fine-tuning the "adapter" is a whole model.
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
  int64_t num_labels = 2;  // of a classification head
  bool train_head = true;
  // Every weight of the backbone and its head in place of LoRA; then only num_labels counts of the others.
  bool full = false;

  bool trains_head() const { return full || train_head; }
  float scaling() const { return static_cast<float>(alpha / static_cast<double>(rank)); }
};

// One LoRA pair: y += scaling * B A dropout(x). Offsets are into the flat adapter.
struct LoraSlot {
  int64_t a_offset;  // A [rank, inputs]
  int64_t b_offset;  // B [outputs, rank]
};

// A module of a classification head. Offsets are into the flat adapter, or into the bank's frozen head.
struct HeadSlot {
  int64_t weight;  // [outputs, inputs]
  int64_t bias;    // [outputs]
  int64_t outputs;
  int64_t inputs;
};

struct AdapterTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset;
  std::string also = {};  // its name in other versions of transformers; empty where it has none

  int64_t size() const;
};

struct AdapterLayout {
  std::vector<AdapterTensor> tensors;  // in byte order of the names
  int64_t size = 0;                    // values of one adapter
  // by layer * roles + role; empty where the module has no LoRA
  std::vector<std::optional<LoraSlot>> slots;
  std::optional<HeadSlot> head_dense;  // where the family's head has it
  std::optional<HeadSlot> head_out;    // none for next-token models, whose head is frozen and the backbone's
  int64_t frozen_head_size = 0;        // values of the frozen head; 0 where the head is trained

  const std::optional<LoraSlot>& slot(int64_t layer, Role role) const {
    return slots[static_cast<size_t>(layer) * kRoles.size() + static_cast<size_t>(role)];
  }
};

// Names are PEFT's named_parameters, or those of the whole model in transformers 4; target modules match as
// PEFT matches them (a whole name, or its end after a dot), by the names of any version of transformers.
// Throws Usage for a rank, label count or target that does not fit the architecture, Unsupported for a
// trained language-model head or LoRA outside the layers.
AdapterLayout make_layout(const Architecture& architecture, const AdapterSpec& spec);

// What full fine-tuning trains besides a classification head: the backbone, and a language model's head
// where it is not the word embedding.
std::vector<TensorShape> full_tensors(const Architecture& architecture);

}  // namespace fltac
