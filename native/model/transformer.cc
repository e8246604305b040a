#include "model/transformer.h"

#include <algorithm>

#include "core/blas.h"

namespace fltac {
namespace {

using kernels::DropoutPlan;

// Where dropout masks are drawn. A layer's sites are layer_site(layer) + one of these; LoRA's add the role.
enum Site : uint32_t { kEmbedding = 1, kHead = 2, kAttention = 0, kAttentionOut = 1, kMlpOut = 2, kLora = 8 };
uint32_t layer_site(int64_t layer) { return 16 * (static_cast<uint32_t>(layer) + 1); }

float* data(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }
const float* const_data(const at::Tensor& t) { return t.const_data_ptr<float>(); }

at::Tensor buffer(int64_t rows, int64_t columns) { return at::empty({rows, columns}, at::kFloat); }

int64_t lowest_adapted(const AdapterBank& bank) {
  const Architecture& a = bank.backbone().architecture();
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const Role role : kRoles) {
      if (bank.layout().slot(layer, role)) return layer;
    }
  }
  return a.layers;
}

at::Tensor index_of(const std::vector<int64_t>& offsets) {
  return at::from_blob(const_cast<int64_t*>(offsets.data()), {static_cast<int64_t>(offsets.size()) - 1},
                       at::kLong);
}

at::Tensor as_index(const std::vector<int32_t>& values) {
  return at::from_blob(const_cast<int32_t*>(values.data()), {static_cast<int64_t>(values.size())}, at::kInt);
}

// Offsets of sequences that have one row each.
std::vector<int64_t> one_each(int64_t n) {
  std::vector<int64_t> offsets(static_cast<size_t>(n) + 1);
  for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<int64_t>(i);
  return offsets;
}

}  // namespace

Pass::Pass(const AdapterBank& bank, const PackedBatch& batch, PassOptions options)
    : bank_(bank),
      batch_(batch),
      options_(options),
      backbone_(bank.backbone()),
      architecture_(backbone_.architecture()),
      first_adapted_(lowest_adapted(bank)),
      query_offsets_(one_each(batch.sequence_count())),
      tapes_(static_cast<size_t>(architecture_.layers)) {}

DropoutPlan Pass::plan(double rate, uint32_t site, const RowSpace& space) const {
  return {Dropout(options_.dropout ? rate : 0.0), options_.step, site, space.keys.data()};
}

at::Tensor Pass::forward() {
  at::Tensor hidden = embed();
  for (int64_t layer = 0; layer < architecture_.layers; ++layer) hidden = forward_layer(layer, hidden);
  // BertPooler: tanh(W h_cls + b); the last layer computed no other row.
  pooled_ = backbone_.pooler.forward(hidden).tanh_();
  features_ = pooled_;
  const DropoutPlan drop = plan(architecture_.head_dropout, kHead, batch_.sequences);
  if (drop.rate.active()) {
    features_ = at::empty_like(pooled_);
    kernels::dropout(const_data(pooled_), drop, pooled_.size(0), pooled_.size(1), data(features_));
  }
  const int64_t labels = bank_.spec().num_labels, width = architecture_.hidden;
  const at::Tensor logits = buffer(batch_.sequence_count(), labels);
  for (const JobRows& job : batch_.sequences.jobs) {
    const float* bias = bank_.head_bias(job.bank_row);
    float* out = data(logits) + job.begin * labels;
    for (int64_t r = job.begin; r < job.end; ++r) std::copy_n(bias, labels, data(logits) + r * labels);
    gemm(false, true, job.end - job.begin, labels, width, 1.0f, const_data(features_) + job.begin * width,
         width, bank_.head_weight(job.bank_row), width, 1.0f, out, labels);
  }
  return logits;
}

at::Tensor Pass::embed() {
  at::Tensor sum = at::embedding(backbone_.word_embeddings, as_index(batch_.ids));
  sum.add_(at::embedding(backbone_.position_embeddings, as_index(batch_.positions)));
  sum.add_(at::embedding(backbone_.type_embeddings, as_index(batch_.types)));
  const at::Tensor out = at::empty_like(sum);
  const int64_t rows = sum.size(0), n = sum.size(1);
  const Norm& norm = backbone_.embedding_norm;
  kernels::dropout_add_norm(const_data(sum), nullptr, const_data(norm.gain), const_data(norm.shift),
                            architecture_.norm_eps, plan(0.0, 0, batch_.tokens), rows, n, data(out), nullptr,
                            nullptr);
  const DropoutPlan drop = plan(architecture_.hidden_dropout, kEmbedding, batch_.tokens);
  if (drop.rate.active()) kernels::dropout(const_data(out), drop, rows, n, data(out));
  return out;
}

at::Tensor Pass::forward_layer(int64_t layer, const at::Tensor& input) {
  LayerTape spare;
  LayerTape& tape = keeps_tape(layer) ? tapes_[static_cast<size_t>(layer)] : spare;
  tape.input = input;
  tape.query_input = is_last(layer) ? input.index_select(0, index_of(batch_.offsets)) : input;
  const at::Tensor attended = forward_attention(layer, tape);
  return forward_mlp(layer, attended, tape);
}

at::Tensor Pass::forward_attention(int64_t layer, LayerTape& tape) {
  const LayerWeights& w = backbone_.layers[static_cast<size_t>(layer)];
  const int64_t h = architecture_.hidden;
  if (is_last(layer)) {
    // Only the class tokens ask; every token is still a key and a value.
    tape.q = w.query.forward(tape.query_input);
    tape.kv = w.key_value.forward(tape.input);
  } else {
    const at::Tensor qkv = w.qkv.forward(tape.input);
    tape.q = qkv.narrow(1, 0, h);
    tape.kv = qkv.narrow(1, h, 2 * h);
  }
  const RowSpace& queries = query_space(layer);
  add_lora(layer, Role::Query, queries, tape.query_input, tape.q, tape);
  add_lora(layer, Role::Key, batch_.tokens, tape.input, tape.kv.narrow(1, 0, h), tape);
  add_lora(layer, Role::Value, batch_.tokens, tape.input, tape.kv.narrow(1, h, h), tape);

  tape.context = buffer(queries.rows(), h);
  if (keeps_tape(layer)) tape.log_sum = buffer(queries.rows(), architecture_.heads);
  const int64_t kv_stride = tape.kv.stride(0);
  attention_forward(
      shape(layer), plan(architecture_.attention_dropout, layer_site(layer) + kAttention, batch_.sequences),
      {data(tape.q), tape.q.stride(0)}, {data(tape.kv), kv_stride}, {data(tape.kv) + h, kv_stride},
      {data(tape.context), h}, keeps_tape(layer) ? data(tape.log_sum) : nullptr);

  const at::Tensor out = w.attention_out.forward(tape.context);
  add_lora(layer, Role::AttentionOut, queries, tape.context, out, tape);
  return add_norm(layer, kAttentionOut, w.attention_norm, out, tape.query_input, tape.attention_normed,
                  tape.attention_rstd);
}

at::Tensor Pass::forward_mlp(int64_t layer, const at::Tensor& input, LayerTape& tape) {
  const LayerWeights& w = backbone_.layers[static_cast<size_t>(layer)];
  const RowSpace& space = query_space(layer);
  tape.mlp_hidden = w.mlp_in.forward(input);
  add_lora(layer, Role::MlpIn, space, input, tape.mlp_hidden, tape);
  const at::Tensor active = at::gelu(tape.mlp_hidden);
  const at::Tensor out = w.mlp_out.forward(active);
  add_lora(layer, Role::MlpOut, space, active, out, tape);
  if (bank_.layout().slot(layer, Role::MlpIn)) tape.attention_output = input;
  if (bank_.layout().slot(layer, Role::MlpOut)) tape.mlp_active = active;
  return add_norm(layer, kMlpOut, w.mlp_norm, out, input, tape.mlp_normed, tape.mlp_rstd);
}

at::Tensor Pass::add_norm(int64_t layer, uint32_t site, const Norm& norm, const at::Tensor& x,
                          const at::Tensor& residual, at::Tensor& normed, at::Tensor& rstd) const {
  const RowSpace& space = query_space(layer);
  const int64_t rows = space.rows(), n = architecture_.hidden;
  const at::Tensor out = buffer(rows, n);
  if (keeps_tape(layer)) {
    normed = buffer(rows, n);
    rstd = at::empty({rows}, at::kFloat);
  }
  kernels::dropout_add_norm(
      const_data(x), const_data(residual), const_data(norm.gain), const_data(norm.shift),
      architecture_.norm_eps, plan(architecture_.hidden_dropout, layer_site(layer) + site, space), rows, n,
      data(out), keeps_tape(layer) ? data(normed) : nullptr, keeps_tape(layer) ? data(rstd) : nullptr);
  return out;
}

AttentionShape Pass::shape(int64_t layer) const {
  return {architecture_.heads, architecture_.head_dim(), is_last(layer) ? &query_offsets_ : &batch_.offsets,
          &batch_.offsets};
}

void Pass::add_lora(int64_t layer, Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& y,
                    LayerTape& tape) {
  const auto& slot = bank_.layout().slot(layer, role);
  if (!slot) return;
  at::Tensor& z = tape.z[static_cast<size_t>(role)];
  z = buffer(space.rows(), bank_.spec().rank);
  const LoraProduct product{bank_, space, *slot, x.size(1), y.size(1), lora_plan(layer, role, space)};
  lora_forward(product, const_data(x), data(y), y.stride(0), data(z));
}

void Pass::take_lora(int64_t layer, Role role, const RowSpace& space, const at::Tensor& x,
                     const at::Tensor& dy, const at::Tensor& dx, LayerTape& tape, GradientSink& sink) {
  const auto& slot = bank_.layout().slot(layer, role);
  if (!slot) return;
  const LoraProduct product{bank_, space, *slot, x.size(1), dy.size(1), lora_plan(layer, role, space)};
  lora_backward(product, const_data(x), const_data(dy), dy.stride(0),
                const_data(tape.z[static_cast<size_t>(role)]), dx.defined() ? data(dx) : nullptr, sink);
}

DropoutPlan Pass::lora_plan(int64_t layer, Role role, const RowSpace& space) const {
  return plan(bank_.spec().dropout, layer_site(layer) + kLora + static_cast<uint32_t>(role), space);
}

void Pass::backward(const at::Tensor& dlogits, GradientSink& sink) {
  at::Tensor grad = backward_head(dlogits, sink);
  for (int64_t layer = architecture_.layers - 1; layer >= first_adapted_; --layer) {
    grad = backward_layer(layer, grad, sink);
    tapes_[static_cast<size_t>(layer)] = {};
  }
}

at::Tensor Pass::backward_head(const at::Tensor& dlogits, GradientSink& sink) {
  const int64_t labels = bank_.spec().num_labels, width = architecture_.hidden;
  const at::Tensor dfeatures = at::empty_like(features_);
  const at::Tensor dweight = buffer(labels, width);
  for (size_t j = 0; j < batch_.sequences.jobs.size(); ++j) {
    const JobRows& job = batch_.sequences.jobs[j];
    const int64_t rows = job.end - job.begin;
    const float* dy = const_data(dlogits) + job.begin * labels;
    const float* x = const_data(features_) + job.begin * width;
    gemm(false, false, rows, width, labels, 1.0f, dy, labels, bank_.head_weight(job.bank_row), width, 0.0f,
         data(dfeatures) + job.begin * width, width);
    if (!bank_.spec().train_head) continue;
    gemm(true, false, labels, width, rows, 1.0f, dy, labels, x, width, 0.0f, data(dweight), width);
    const at::Tensor dbias = dlogits.narrow(0, job.begin, rows).sum(0);
    sink.take(j, bank_.layout().head_weight, const_data(dweight), labels * width);
    sink.take(j, bank_.layout().head_bias, const_data(dbias), labels);
  }
  const DropoutPlan drop = plan(architecture_.head_dropout, kHead, batch_.sequences);
  if (drop.rate.active()) {
    kernels::dropout(const_data(dfeatures), drop, dfeatures.size(0), width, data(dfeatures));
  }
  return backbone_.pooler.input_gradient(at::tanh_backward(dfeatures, pooled_));
}

at::Tensor Pass::backward_layer(int64_t layer, const at::Tensor& doutput, GradientSink& sink) {
  LayerTape& tape = tapes_[static_cast<size_t>(layer)];
  const at::Tensor dattended = backward_mlp(layer, doutput, tape, sink);
  return backward_attention(layer, dattended, tape, sink);
}

at::Tensor Pass::backward_mlp(int64_t layer, const at::Tensor& doutput, LayerTape& tape, GradientSink& sink) {
  const LayerWeights& w = backbone_.layers[static_cast<size_t>(layer)];
  const RowSpace& space = query_space(layer);
  at::Tensor dinput, dout;
  norm_backward(layer, kMlpOut, w.mlp_norm, doutput, tape.mlp_normed, tape.mlp_rstd, dinput, dout);
  at::Tensor dactive = w.mlp_out.input_gradient(dout);
  take_lora(layer, Role::MlpOut, space, tape.mlp_active, dout, dactive, tape, sink);
  const at::Tensor dhidden = at::gelu_backward(dactive, tape.mlp_hidden);
  dinput.add_(w.mlp_in.input_gradient(dhidden));
  take_lora(layer, Role::MlpIn, space, tape.attention_output, dhidden, dinput, tape, sink);
  return dinput;
}

at::Tensor Pass::backward_attention(int64_t layer, const at::Tensor& doutput, LayerTape& tape,
                                    GradientSink& sink) {
  const LayerWeights& w = backbone_.layers[static_cast<size_t>(layer)];
  const RowSpace& queries = query_space(layer);
  const int64_t h = architecture_.hidden, tokens = batch_.token_count();
  at::Tensor dquery_input, dout;
  norm_backward(layer, kAttentionOut, w.attention_norm, doutput, tape.attention_normed, tape.attention_rstd,
                dquery_input, dout);
  const at::Tensor dcontext = w.attention_out.input_gradient(dout);
  take_lora(layer, Role::AttentionOut, queries, tape.context, dout, dcontext, tape, sink);

  // As in forward: one buffer for all three where every token asks, so that the input gradient is one
  // product.
  const bool last = is_last(layer);
  const at::Tensor dqkv = last ? at::Tensor() : buffer(tokens, 3 * h);
  const at::Tensor dq = last ? buffer(queries.rows(), h) : dqkv.narrow(1, 0, h);
  const at::Tensor dkv = last ? buffer(tokens, 2 * h) : dqkv.narrow(1, h, 2 * h);
  const int64_t kv_stride = tape.kv.stride(0), dkv_stride = dkv.stride(0);
  attention_backward(
      shape(layer), plan(architecture_.attention_dropout, layer_site(layer) + kAttention, batch_.sequences),
      {data(tape.q), tape.q.stride(0)}, {data(tape.kv), kv_stride}, {data(tape.kv) + h, kv_stride},
      {data(tape.context), h}, {data(dcontext), h}, const_data(tape.log_sum), {data(dq), dq.stride(0)},
      {data(dkv), dkv_stride}, {data(dkv) + h, dkv_stride});

  const bool needs_input = layer > first_adapted_;
  at::Tensor dinput;
  if (needs_input && last) {
    dinput = w.key_value.input_gradient(dkv);
    dquery_input.add_(w.query.input_gradient(dq));
  } else if (needs_input) {
    dinput = dquery_input.add_(w.qkv.input_gradient(dqkv));
  }
  const at::Tensor none;
  take_lora(layer, Role::Query, queries, tape.query_input, dq, needs_input ? dquery_input : none, tape, sink);
  take_lora(layer, Role::Key, batch_.tokens, tape.input, dkv.narrow(1, 0, h), dinput, tape, sink);
  take_lora(layer, Role::Value, batch_.tokens, tape.input, dkv.narrow(1, h, h), dinput, tape, sink);
  if (needs_input && last) dinput.index_add_(0, index_of(batch_.offsets), dquery_input);
  return dinput;
}

void Pass::norm_backward(int64_t layer, uint32_t site, const Norm& norm, const at::Tensor& doutput,
                         const at::Tensor& normed, const at::Tensor& rstd, at::Tensor& dresidual,
                         at::Tensor& dx) const {
  const RowSpace& space = query_space(layer);
  const int64_t rows = space.rows(), n = architecture_.hidden;
  dresidual = buffer(rows, n);
  dx = buffer(rows, n);
  kernels::dropout_add_norm_backward(const_data(doutput), const_data(normed), const_data(rstd),
                                     const_data(norm.gain),
                                     plan(architecture_.hidden_dropout, layer_site(layer) + site, space),
                                     rows, n, data(dresidual), data(dx));
}

}  // namespace fltac
