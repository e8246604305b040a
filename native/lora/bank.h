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

  // The head that row `index` classifies with: its own trained one, or the bank's frozen one.
  const float* head_weight(int64_t index) const;  // [num_labels, hidden]
  const float* head_bias(int64_t index) const;    // [num_labels]

  // PEFT's initial state: A uniform in +-1/sqrt(inputs) (kaiming_uniform_ with a = sqrt(5)), B zero; the head
  // is the checkpoint's where it has one of this shape, else normal(0, initializer_range) with zero bias, as
  // transformers'. Draws are named by `stream`. A frozen head is (re)drawn too, for all rows.
  void initialise(int64_t index, uint64_t stream);

 private:
  std::shared_ptr<const Backbone> backbone_;
  AdapterSpec spec_;
  AdapterLayout layout_;
  at::Tensor data_;         // [rows, size] float32
  at::Tensor frozen_head_;  // [num_labels * (hidden + 1)] float32: weight, then bias; empty where the head is
                            // trained
};

}  // namespace fltac
