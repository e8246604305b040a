// Adapters as the rows of one matrix: LoRA factors, AdamW, K-means, averaging and files all see the same
// memory.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>

#include "lora/layout.h"
#include "model/backbone.h"

namespace fltac {

class AdapterBank {
 public:
  // `rows` adapters of the spec's layout, all zero. Throws Usage for a spec that does not fit the backbone.
  AdapterBank(std::shared_ptr<const Backbone> backbone, AdapterSpec spec, int64_t rows);

  const AdapterSpec& spec() const { return spec_; }
  const AdapterLayout& layout() const { return layout_; }
  const Backbone& backbone() const { return *backbone_; }
  int64_t rows() const { return data_.size(0); }
  int64_t bytes() const;

  // The flat adapter [layout().size] of a row. Throws Usage for a row that is not there.
  float* row(int64_t index);
  const float* row(int64_t index) const;

  // A module of the head that row `index` classifies with: its own trained one, or the bank's frozen one.
  // Throws Usage for a frozen head that no initialise has made yet.
  const float* head_weight(int64_t index, const HeadSlot& slot) const;  // [slot.outputs, slot.inputs]
  const float* head_bias(int64_t index, const HeadSlot& slot) const;    // [slot.outputs]

  // PEFT's initial state: A uniform in +-1/sqrt(inputs) (kaiming_uniform_ with a = sqrt(5)), B zero; the head
  // is the checkpoint's where it has one, else normal(0, initializer_range) with zero bias, as
  // transformers'. Draws are named by `stream`. A frozen head is (re)drawn too, for all rows. A whole model's
  // other weights are read from the backbone's files, exact and in float32 whatever type they are held in.
  void initialise(int64_t index, uint64_t stream);

 private:
  const float* head_values(int64_t index) const;

  std::shared_ptr<const Backbone> backbone_;
  AdapterSpec spec_;
  AdapterLayout layout_;
  at::Tensor data_;         // [rows, size] float32
  at::Tensor frozen_head_;  // [layout.frozen_head_size] float32
  bool head_made_ = false;  // whether the frozen head holds more than zeros
};

}  // namespace fltac
