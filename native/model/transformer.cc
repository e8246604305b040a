#include "model/transformer.h"

#include "model/embedding.h"

namespace fltac {

using kernels::DropoutPlan;

Pass::Pass(const AdapterBank& bank, const PackedBatch& batch, PassOptions options)
    : context_(bank, batch, options), layers_(static_cast<size_t>(context_.architecture.layers)) {}

Pass::Layer::Layer(const PassContext& pass, int64_t index)
    : lora(pass, index),
      attention(pass, index, lora),
      mlp(pass, index, lora),
      attention_end{kAttentionOut,
                    pass.architecture.family->attention_out_dropout ? pass.architecture.hidden_dropout : 0.0,
                    2 * index + 1,
                    {},
                    {}},
      mlp_end{kMlpOut, pass.architecture.hidden_dropout, 2 * index + 2, {}, {}} {}

at::Tensor Pass::forward() {
  Stream stream = begin();
  for (int64_t layer = 0; layer < context_.architecture.layers; ++layer) {
    stream = forward_layer(layer, stream);
  }
  return stream.normed;
}

// Norms after the sum drop what the embedding's norm gives; norms before the block drop the embedding itself.
Pass::Stream Pass::begin() const {
  const Architecture& a = context_.architecture;
  const at::Tensor embedded = embed(context_.backbone, context_.batch);
  const Ops& ops = context_.embedding_ops();
  const DropoutPlan drop = context_.plan(a.hidden_dropout, kEmbedding, context_.batch.tokens);
  const DropoutPlan none = context_.plan(0.0, kEmbedding, context_.batch.tokens);
  const at::Tensor normed = at::empty_like(embedded);
  const at::Tensor sum = is_post() ? at::Tensor() : at::empty_like(embedded);
  ops.dropout_add_norm(embedded, {}, context_.backbone.norms.front(), a.norm_eps, is_post() ? none : drop,
                       {normed, sum, {}, {}});
  if (!is_post()) return {normed, sum};
  if (drop.rate.active()) ops.dropout(normed, drop, normed);
  return {normed, normed};
}

Pass::Stream Pass::forward_layer(int64_t index, const Stream& input) {
  auto layer = std::make_unique<Layer>(context_, index);
  Stream queries = input;
  if (context_.is_last(index)) {
    const at::Tensor rows = context_.output_index(input.normed.device());
    queries.normed = input.normed.index_select(0, rows);
    queries.residual = is_post() ? queries.normed : input.residual.index_select(0, rows);
  }
  const at::Tensor attended = layer->attention.forward(input.normed, queries.normed);
  const Stream middle = join(index, layer->attention_end, attended, queries.residual);
  const Stream output = join(index, layer->mlp_end, layer->mlp.forward(middle.normed), middle.residual);
  if (context_.keeps_tape(index)) layers_[static_cast<size_t>(index)] = std::move(layer);
  return output;
}

Pass::Stream Pass::join(int64_t layer, Join& end, const at::Tensor& x, const at::Tensor& residual) const {
  const RowSpace& space = context_.query_space(layer);
  const Norm& norm = context_.backbone.norms[static_cast<size_t>(end.norm)];
  const at::Tensor out = at::empty_like(residual);
  const at::Tensor sum = is_post() ? at::Tensor() : at::empty_like(residual);
  if (context_.keeps_tape(layer)) {
    end.normed = at::empty_like(residual);
    end.rstd = at::empty({space.rows()}, residual.options());
  }
  context_.ops(layer).dropout_add_norm(x, residual, norm, context_.architecture.norm_eps,
                                       context_.layer_plan(end.dropout, layer, end.site, space),
                                       {out, sum, end.normed, end.rstd});
  return {out, is_post() ? out : sum};
}

void Pass::backward(const at::Tensor& dfeatures, GradientSink& sink) {
  Stream gradient{dfeatures, {}};
  for (int64_t layer = context_.architecture.layers - 1; layer >= context_.first_adapted; --layer) {
    gradient = backward_layer(layer, gradient, sink);
    layers_[static_cast<size_t>(layer)].reset();
  }
}

Pass::Stream Pass::backward_layer(int64_t index, const Stream& doutput, GradientSink& sink) {
  Layer& layer = *layers_[static_cast<size_t>(index)];
  const at::Tensor none;
  at::Tensor dx;
  // With norms after the sum, a block's residual is what it reads: both gradients meet there.
  const at::Tensor dmiddle = join_backward(index, layer.mlp_end, doutput, dx);
  Stream middle{layer.mlp.backward(dx, is_post() ? dmiddle : none, sink), is_post() ? none : dmiddle};
  at::Tensor dresidual = join_backward(index, layer.attention_end, middle, dx);
  const at::Tensor dinput = layer.attention.backward(dx, is_post() ? dresidual : none, sink);
  if (is_post() || index == context_.first_adapted) return {dinput, none};
  if (context_.is_last(index)) {
    const at::Tensor rows =
        at::zeros({context_.batch.token_count(), context_.architecture.hidden}, dresidual.options());
    rows.index_copy_(0, context_.output_index(rows.device()), dresidual);
    dresidual = rows;
  }
  return {dinput, dresidual};
}

at::Tensor Pass::join_backward(int64_t layer, const Join& end, const Stream& doutput, at::Tensor& dx) const {
  const RowSpace& space = context_.query_space(layer);
  const DropoutPlan plan = context_.layer_plan(end.dropout, layer, end.site, space);
  const Norm& norm = context_.backbone.norms[static_cast<size_t>(end.norm)];
  const at::Tensor dresidual = at::empty_like(doutput.normed);
  // With norms after the sum more is added to the residual's gradient, so that dx needs memory of its own.
  const bool shared = !is_post() && !plan.rate.active();
  dx = shared ? dresidual : at::empty_like(dresidual);
  context_.ops(layer).dropout_add_norm_backward({doutput.normed, doutput.residual, end.normed, end.rstd},
                                                norm, context_.architecture.norm_eps, plan, dresidual,
                                                shared ? at::Tensor() : dx);
  return dresidual;
}

}  // namespace fltac
