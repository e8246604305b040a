// Forward and backward of the one transformer over a packed batch. Backward is written out: only adapters and
// heads are trained, so it keeps and computes no more than they need, and hands on each gradient when it is
// complete.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "model/attention_block.h"
#include "model/mlp_block.h"
#include "model/pass_context.h"

namespace fltac {

class Pass {
 public:
  // The bank and the batch must outlive the pass.
  Pass(const AdapterBank& bank, const PackedBatch& batch, PassOptions options);

  const PassContext& context() const { return context_; }
  // What the head reads: the batch's outputs after the last norm, [outputs, hidden] float32.
  at::Tensor forward();
  // From d(loss)/d(features), as forward's result, to every gradient of LoRA. Once, after a forward with
  // gradients.
  void backward(const at::Tensor& dfeatures, GradientSink& sink);

 private:
  // What goes from block to block, in values or in gradients: what the next block reads, and the residual it
  // adds to. With norms after the sum both are one: then values are the same tensor, and gradients are summed
  // in `normed`, `residual` being undefined.
  struct Stream {
    at::Tensor normed, residual;  // [rows, hidden]
  };

  // A block's end: dropout, residual sum, and the norm that follows.
  struct Join {
    uint32_t site;
    double dropout;
    int64_t norm;             // its place in Backbone::norms
    at::Tensor normed, rstd;  // what backward reads
  };

  struct Layer {
    Layer(const PassContext& pass, int64_t index);
    LayerLora lora;
    AttentionBlock attention;
    MlpBlock mlp;
    Join attention_end, mlp_end;
  };

  // What backward needs of a layer: all that its blocks keep, or with checkpointing only what it reads (of
  // all but the last layer).
  struct Tape {
    std::unique_ptr<Layer> layer;
    Stream input;
  };

  bool is_post() const { return context_.architecture.family->norm_place == NormPlace::Post; }
  // The stream on `to`: each tensor is copied once where the devices differ.
  Stream moved(const Stream& stream, const Device& from, const Device& to) const;
  Stream begin() const;
  Stream forward_layer(int64_t index, const Stream& input);
  Stream run_layer(Layer& layer, int64_t index, const Stream& input) const;
  Stream backward_layer(int64_t index, const Stream& doutput, GradientSink& sink);
  Stream join(int64_t layer, Join& end, const at::Tensor& x, const at::Tensor& residual) const;
  // From the gradient of a join's result to that of its residual, and of the block's result: dx.
  at::Tensor join_backward(int64_t layer, const Join& end, const Stream& doutput, at::Tensor& dx) const;

  PassContext context_;
  std::vector<Tape> tapes_;  // of the layers that backward needs
};

}  // namespace fltac
