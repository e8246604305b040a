// One layer's attention: query, key and value products, positions, attention, output product.
#pragma once

#include <ATen/ATen.h>

#include "model/pass_context.h"

namespace fltac {

class AttentionBlock {
 public:
  AttentionBlock(const PassContext& pass, int64_t layer, LayerLora& lora);

  // input [tokens, hidden]; query_input: the rows of it that ask (PassContext::query_space). Gives [queries,
  // hidden], without dropout, residual and norm.
  at::Tensor forward(const at::Tensor& input, const at::Tensor& query_input);

  // From forward's gradient to the gradient of `input`. `residual` is the gradient that reaches query_input
  // on another way and is added (and overwritten), or undefined. Undefined at the lowest adapted layer:
  // nothing below it is trained.
  at::Tensor backward(const at::Tensor& dout, const at::Tensor& residual, GradientSink& sink);

 private:
  void project(const at::Tensor& input, const at::Tensor& query_input);
  void turn(const at::Tensor& q, const at::Tensor& k, bool forwards) const;
  at::Tensor key(const at::Tensor& kv) const { return kv.narrow(1, 0, architecture_.kv_width()); }
  at::Tensor value(const at::Tensor& kv) const {
    return kv.narrow(1, architecture_.kv_width(), architecture_.kv_width());
  }

  const PassContext& pass_;
  const Architecture& architecture_;
  const LayerWeights& weights_;
  LayerLora& lora_;
  int64_t layer_;
  // What backward reads; q and kv are views of one buffer where every token asks.
  at::Tensor input_, query_input_;  // [rows, hidden]
  at::Tensor q_;                    // [queries, query_width]
  at::Tensor kv_;                   // [tokens, 2 kv_width]: keys, then values
  AttentionTape tape_;              // attention's result and its rows' log-sum-exp
};

}  // namespace fltac
