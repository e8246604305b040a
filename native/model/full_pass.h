// The forward pass of a model whose weights are all trained, one model at a time. Its backward is libtorch's
// autograd: full fine-tuning is here to be compared with, and what LoRA's written-out pass gains (frozen
// products laid out once, gradients of few values, many adapters in one pass) it cannot have. Batches are
// packed and dropout masks drawn as there.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "lora/layout.h"
#include "model/pass_context.h"

namespace fltac {

// The tensors of a whole model, each a leaf of autograd that reads the memory of one flat vector.
class FullWeights {
 public:
  // `flat` [layout.size] float32, on any device. Without `trained` no gradient is followed.
  FullWeights(const AdapterLayout& layout, const at::Tensor& flat, bool trained);

  // In the layout's order.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  // Throws Internal for a name that the layout lacks.
  const at::Tensor& at(const std::string& name) const;
  // Undefined where the layout lacks it.
  at::Tensor find(const std::string& name) const;

 private:
  std::vector<at::Tensor> tensors_;
  std::unordered_map<std::string, size_t> places_;
};

class FullPass {
 public:
  // Both must outlive the pass and any backward of its results. All of the model is on one device.
  FullPass(const PassContext& context, const FullWeights& weights) : pass_(context), weights_(weights) {}

  // [outputs, classes or vocab]
  at::Tensor logits() const;

 private:
  at::Tensor embed_tokens() const;
  at::Tensor embed_images() const;
  // One layer; the last gives only the rows that the loss is over.
  at::Tensor layer_post(int64_t layer, const at::Tensor& x) const;
  at::Tensor layer_pre(int64_t layer, const at::Tensor& x) const;
  at::Tensor attend(int64_t layer, const at::Tensor& input, const at::Tensor& query_input) const;
  at::Tensor mlp(int64_t layer, const at::Tensor& x) const;
  at::Tensor class_logits(at::Tensor x) const;

  at::Tensor asking(int64_t layer, const at::Tensor& x) const;
  at::Tensor linear(const std::string& module, const at::Tensor& x) const;
  at::Tensor linear(Role role, int64_t layer, const at::Tensor& x) const;
  at::Tensor norm(const std::string& module, const at::Tensor& x) const;
  at::Tensor drop(const at::Tensor& x, const kernels::DropoutPlan& plan) const;
  at::Tensor drop_layer(const at::Tensor& x, double rate, int64_t layer, LayerSite site) const;

  const PassContext& pass_;
  const FullWeights& weights_;
};

}  // namespace fltac
