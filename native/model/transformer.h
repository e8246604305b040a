// Forward and backward of the one transformer over a packed batch. Backward is written out: only adapters and
// heads are trained, so it keeps and computes no more than they need, and hands on each gradient when it is
// complete.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lora/lora.h"
#include "model/attention.h"
#include "model/batch.h"

namespace fltac {

struct PassOptions {
  bool dropout = false;    // the backbone's and LoRA's
  bool gradients = false;  // keep what backward needs
  uint32_t step = 0;       // names the dropout masks, with each job's stream
};

class Pass {
 public:
  // The bank and the batch must outlive the pass.
  Pass(const AdapterBank& bank, const PackedBatch& batch, PassOptions options);

  // Logits [sequences, num_labels] float32.
  at::Tensor forward();
  // From d(loss)/d(logits), as forward's shape, to every adapter gradient. Once, after a forward with
  // gradients.
  void backward(const at::Tensor& dlogits, GradientSink& sink);

 private:
  // What a layer's backward reads. Rows are tokens, but for the last layer's query side: there, sequences.
  struct LayerTape {
    at::Tensor input, query_input;  // [rows, hidden]
    at::Tensor q, kv;               // q [rows, hidden] view or own; kv [tokens, 2 hidden] view or own
    at::Tensor context, log_sum;    // attention's result and its rows' log-sum-exp
    at::Tensor attention_normed, attention_rstd, attention_output;
    at::Tensor mlp_hidden, mlp_active;  // before and after the activation
    at::Tensor mlp_normed, mlp_rstd;
    std::array<at::Tensor, kRoles.size()> z;  // LoRA's inner product by role
  };

  at::Tensor embed();
  at::Tensor forward_layer(int64_t layer, const at::Tensor& input);
  at::Tensor forward_attention(int64_t layer, LayerTape& tape);
  at::Tensor forward_mlp(int64_t layer, const at::Tensor& input, LayerTape& tape);
  at::Tensor add_norm(int64_t layer, uint32_t site, const Norm& norm, const at::Tensor& x,
                      const at::Tensor& residual, at::Tensor& normed, at::Tensor& rstd) const;
  void add_lora(int64_t layer, Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& y,
                LayerTape& tape);

  at::Tensor backward_head(const at::Tensor& dlogits, GradientSink& sink);
  // Takes the gradient of a layer's output and returns that of its input; undefined at the lowest adapted
  // layer.
  at::Tensor backward_layer(int64_t layer, const at::Tensor& doutput, GradientSink& sink);
  at::Tensor backward_mlp(int64_t layer, const at::Tensor& doutput, LayerTape& tape, GradientSink& sink);
  at::Tensor backward_attention(int64_t layer, const at::Tensor& doutput, LayerTape& tape,
                                GradientSink& sink);
  void norm_backward(int64_t layer, uint32_t site, const Norm& norm, const at::Tensor& doutput,
                     const at::Tensor& normed, const at::Tensor& rstd, at::Tensor& dresidual,
                     at::Tensor& dx) const;
  void take_lora(int64_t layer, Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& dy,
                 const at::Tensor& dx, LayerTape& tape, GradientSink& sink);

  bool is_last(int64_t layer) const { return layer == architecture_.layers - 1; }
  bool keeps_tape(int64_t layer) const { return options_.gradients && layer >= first_adapted_; }
  // The last layer computes only the class tokens' query, output and MLP: nothing else reaches the loss.
  const RowSpace& query_space(int64_t layer) const {
    return is_last(layer) ? batch_.sequences : batch_.tokens;
  }
  AttentionShape shape(int64_t layer) const;
  kernels::DropoutPlan plan(double rate, uint32_t site, const RowSpace& space) const;
  kernels::DropoutPlan lora_plan(int64_t layer, Role role, const RowSpace& space) const;

  const AdapterBank& bank_;
  const PackedBatch& batch_;
  PassOptions options_;
  const Backbone& backbone_;
  const Architecture& architecture_;
  int64_t first_adapted_;               // below it nothing is trained and no gradient is needed
  std::vector<int64_t> query_offsets_;  // of the last layer: one row a sequence
  std::vector<LayerTape> tapes_;
  at::Tensor pooled_;    // tanh output [sequences, hidden]
  at::Tensor features_;  // what the head reads
};

}  // namespace fltac
