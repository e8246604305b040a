#include "model/attention_block.h"

namespace fltac {

AttentionBlock::AttentionBlock(const PassContext& pass, int64_t layer, LayerLora& lora)
    : pass_(pass),
      architecture_(pass.architecture),
      weights_(pass.backbone.layers[static_cast<size_t>(layer)]),
      lora_(lora),
      layer_(layer) {}

void AttentionBlock::project(const at::Tensor& input, const at::Tensor& query_input) {
  const int64_t q = architecture_.query_width(), kv = architecture_.kv_width();
  if (pass_.is_last(layer_)) {
    // Few rows ask; every token is still a key and a value.
    q_ = weights_.query.forward(query_input);
    kv_ = weights_.key_value.forward(input);
  } else {
    const at::Tensor qkv = weights_.qkv.forward(input);
    q_ = qkv.narrow(1, 0, q);
    kv_ = qkv.narrow(1, q, 2 * kv);
  }
  lora_.add(Role::Query, pass_.query_space(layer_), query_input, q_);
  lora_.add(Role::Key, pass_.batch.tokens, input, key(kv_));
  lora_.add(Role::Value, pass_.batch.tokens, input, value(kv_));
  turn(q_, key(kv_), true);
}

void AttentionBlock::turn(const at::Tensor& q, const at::Tensor& k, bool forwards) const {
  if (!pass_.rotary) return;
  const Ops& ops = pass_.ops(layer_);
  ops.turn(*pass_.rotary, q, architecture_.heads, pass_.query_positions(layer_), forwards);
  ops.turn(*pass_.rotary, k, architecture_.kv_heads, pass_.batch.positions, forwards);
}

at::Tensor AttentionBlock::forward(const at::Tensor& input, const at::Tensor& query_input) {
  const RowSpace& queries = pass_.query_space(layer_);
  input_ = input;
  query_input_ = query_input;
  project(input, query_input);
  at::Tensor kv = kv_;
  if (KeyValueCache* cache = pass_.options.cache) {
    cache->store(layer_, kv_, pass_.batch.offsets, pass_.batch.places);
    kv = cache->layer(layer_);
  }
  tape_.out = buffer(queries.rows(), architecture_.query_width(), q_);
  if (pass_.keeps_tape(layer_)) tape_.log_sum = buffer(queries.rows(), architecture_.heads, q_);
  pass_.ops(layer_).attention(pass_.attention_shape(layer_), pass_.attention_dropout(layer_),
                              {q_, key(kv), value(kv)}, tape_);
  const at::Tensor out = weights_.attention_out.forward(tape_.out);
  lora_.add(Role::AttentionOut, queries, tape_.out, out);
  return out;
}

at::Tensor AttentionBlock::backward(const at::Tensor& dout, const at::Tensor& residual, GradientSink& sink) {
  const RowSpace& queries = pass_.query_space(layer_);
  const RowSpace& tokens = pass_.batch.tokens;
  const int64_t q = architecture_.query_width(), kv = architecture_.kv_width();
  const at::Tensor dcontext = weights_.attention_out.input_gradient(dout);
  lora_.take(Role::AttentionOut, queries, tape_.out, dout, dcontext, sink);

  // As in forward: one buffer for all three where every token asks, so that the input gradient is one
  // product.
  const bool last = pass_.is_last(layer_);
  const at::Tensor dqkv = last ? at::Tensor() : buffer(tokens.rows(), q + 2 * kv, dout);
  const at::Tensor dq = last ? buffer(queries.rows(), q, dout) : dqkv.narrow(1, 0, q);
  const at::Tensor dkv = last ? buffer(tokens.rows(), 2 * kv, dout) : dqkv.narrow(1, q, 2 * kv);
  pass_.ops(layer_).attention_backward(pass_.attention_shape(layer_), pass_.attention_dropout(layer_),
                                       {q_, key(kv_), value(kv_)}, tape_, dcontext,
                                       {dq, key(dkv), value(dkv)});
  turn(dq, key(dkv), false);

  const bool needs_input = layer_ > pass_.first_adapted;
  at::Tensor dquery_input, dinput;
  if (needs_input) {
    dquery_input =
        last ? weights_.query.input_gradient(dq, residual) : weights_.qkv.input_gradient(dqkv, residual);
    dinput = last ? weights_.key_value.input_gradient(dkv) : dquery_input;
  }
  lora_.take(Role::Query, queries, query_input_, dq, dquery_input, sink);
  lora_.take(Role::Key, tokens, input_, key(dkv), dinput, sink);
  lora_.take(Role::Value, tokens, input_, value(dkv), dinput, sink);
  if (needs_input && last) dinput.index_add_(0, pass_.output_index(dinput.device()), dquery_input);
  return dinput;
}

}  // namespace fltac
