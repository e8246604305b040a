#include "model/full_pass.h"

#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "core/transfer.h"
#include "model/embedding.h"

namespace fltac {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Attention over packed sequences by the pass's own operations, rotary positions included, as one function of
// autograd: neither padding nor a tensor of all scores is needed.
class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  // q [queries, heads d], k and v [tokens, kv_heads d]. The context must outlive backward.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const PassContext* pass, int64_t layer) {
    const at::Tensor turned_q = turned(*pass, layer, q, pass->architecture.heads, true);
    const at::Tensor turned_k = turned_keys(*pass, layer, k, true);
    AttentionTape tape{at::empty_like(turned_q), buffer(q.size(0), pass->architecture.heads, q), {}, {}};
    pass->ops(layer).attention(pass->attention_shape(layer), pass->attention_dropout(layer),
                               {turned_q, turned_k, v}, tape);
    ctx->save_for_backward({turned_q, turned_k, v, tape.out, tape.log_sum, tape.seed, tape.offset});
    ctx->saved_data["pass"] = reinterpret_cast<int64_t>(pass);
    ctx->saved_data["layer"] = layer;
    ctx->saved_data["kernel"] = static_cast<int64_t>(tape.kernel);
    return tape.out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& doutputs) {
    const auto* pass = reinterpret_cast<const PassContext*>(ctx->saved_data["pass"].toInt());
    const int64_t layer = ctx->saved_data["layer"].toInt();
    const auto kernel = static_cast<FusedKernel>(ctx->saved_data["kernel"].toInt());
    const variable_list saved = ctx->get_saved_variables();
    const AttentionInput gradient{at::empty_like(saved[0]), at::empty_like(saved[1]),
                                  at::empty_like(saved[2])};
    pass->ops(layer).attention_backward(
        pass->attention_shape(layer), pass->attention_dropout(layer), {saved[0], saved[1], saved[2]},
        {saved[3], saved[4], saved[5], saved[6], kernel}, doutputs[0].contiguous(), gradient);
    return {turned(*pass, layer, gradient.q, pass->architecture.heads, false),
            turned_keys(*pass, layer, gradient.k, false), gradient.v, at::Tensor(), at::Tensor()};
  }

 private:
  static at::Tensor turned(const PassContext& pass, int64_t layer, const at::Tensor& x, int64_t heads,
                           std::span<const int32_t> positions, bool forwards) {
    if (!pass.rotary) return x;
    const at::Tensor y = x.clone();
    pass.ops(layer).turn(*pass.rotary, y, heads, positions, forwards);
    return y;
  }
  static at::Tensor turned(const PassContext& pass, int64_t layer, const at::Tensor& q, int64_t heads,
                           bool forwards) {
    return turned(pass, layer, q, heads, pass.query_positions(layer), forwards);
  }
  static at::Tensor turned_keys(const PassContext& pass, int64_t layer, const at::Tensor& k, bool forwards) {
    return turned(pass, layer, k, pass.architecture.kv_heads, pass.batch.positions, forwards);
  }
};

at::Tensor index_of(const std::vector<int32_t>& rows, const at::Device& device) {
  const at::Tensor host =
      at::from_blob(const_cast<int32_t*>(rows.data()), {static_cast<int64_t>(rows.size())}, at::kInt);
  return upload(host.to(at::kLong), device);
}

}  // namespace

FullWeights::FullWeights(const AdapterLayout& layout, const at::Tensor& flat, bool trained) {
  for (const AdapterTensor& tensor : layout.tensors) {
    places_[tensor.name] = tensors_.size();
    const at::Tensor leaf = flat.narrow(0, tensor.offset, tensor.size()).view(tensor.shape).detach();
    tensors_.push_back(leaf.set_requires_grad(trained));
  }
}

const at::Tensor& FullWeights::at(const std::string& name) const {
  const auto place = places_.find(name);
  if (place == places_.end()) fail(ErrorCode::Internal, "the whole model has no tensor ", name);
  return tensors_[place->second];
}

at::Tensor FullWeights::find(const std::string& name) const {
  return places_.contains(name) ? at(name) : at::Tensor();
}

at::Tensor FullPass::logits() const {
  const Architecture& a = pass_.architecture;
  const Family& f = *a.family;
  const bool post = f.norm_place == NormPlace::Post;
  at::Tensor x = f.input == Input::Images ? embed_images() : embed_tokens();
  if (post) x = norm(a.name(f.embedding_norm), x);
  x = drop(x, pass_.plan(a.hidden_dropout, kEmbedding, pass_.batch.tokens));
  for (int64_t layer = 0; layer < a.layers; ++layer) x = post ? layer_post(layer, x) : layer_pre(layer, x);
  if (!post) x = norm(a.name(f.final_norm), x);
  if (f.output == Output::Classes) return class_logits(x);
  const at::Tensor head = weights_.find(std::string(f.head.language) + ".weight");
  return at::linear(x, head.defined() ? head : weights_.at(a.name(f.word_embeddings)));
}

at::Tensor FullPass::embed_tokens() const {
  const Architecture& a = pass_.architecture;
  const Family& f = *a.family;
  // As transformers' tables: the row of a padding token, and of its position, gets no gradient.
  const auto rows = [&](const char* table, const std::vector<int32_t>& index, int64_t padding) {
    const at::Tensor& weight = weights_.at(a.name(table));
    return at::embedding(weight, index_of(index, weight.device()), padding);
  };
  at::Tensor x = rows(f.word_embeddings, pass_.batch.ids, a.padding_id);
  if (f.position_embeddings) x = x + rows(f.position_embeddings, pass_.batch.positions, a.padding_id);
  if (f.type_embeddings) x = x + rows(f.type_embeddings, pass_.batch.types, -1);
  return x;
}

at::Tensor FullPass::embed_images() const {
  const Architecture& a = pass_.architecture;
  const Family& f = *a.family;
  const std::string patch = a.name(f.patch_embedding);
  const at::Tensor& weight = weights_.at(patch + ".weight");
  const auto images = static_cast<int64_t>(pass_.batch.images.size());
  const at::Tensor rows = upload(patch_rows(a.image, pass_.batch.images), weight.device());
  const at::Tensor patches = at::linear(rows, weight.flatten(1), weights_.at(patch + ".bias"));
  std::vector<at::Tensor> tokens;
  for (const char* token : f.special_embeddings) {
    if (token) tokens.push_back(weights_.at(a.name(token)).expand({images, 1, a.hidden}));
  }
  tokens.push_back(patches.view({images, a.image.patches(), a.hidden}));
  return (at::cat(tokens, 1) + weights_.at(a.name(f.position_embeddings))).view({-1, a.hidden});
}

at::Tensor FullPass::layer_post(int64_t layer, const at::Tensor& x) const {
  const Architecture& a = pass_.architecture;
  const Family& f = *a.family;
  const double rate = f.attention_out_dropout ? a.hidden_dropout : 0.0;
  const at::Tensor queries = asking(layer, x);
  const at::Tensor attended = drop_layer(attend(layer, x, queries), rate, layer, kAttentionOut);
  const at::Tensor middle = norm(a.name(f.attention_norm.name, layer), attended + queries);
  const at::Tensor out = drop_layer(mlp(layer, middle), a.hidden_dropout, layer, kMlpOut);
  return norm(a.name(f.mlp_norm.name, layer), out + middle);
}

at::Tensor FullPass::layer_pre(int64_t layer, const at::Tensor& x) const {
  const Architecture& a = pass_.architecture;
  const Family& f = *a.family;
  const double rate = f.attention_out_dropout ? a.hidden_dropout : 0.0;
  const at::Tensor input = norm(a.name(f.attention_norm.name, layer), x);
  const at::Tensor attended =
      drop_layer(attend(layer, input, asking(layer, input)), rate, layer, kAttentionOut);
  const at::Tensor middle = attended + asking(layer, x);
  const at::Tensor out = mlp(layer, norm(a.name(f.mlp_norm.name, layer), middle));
  return drop_layer(out, a.hidden_dropout, layer, kMlpOut) + middle;
}

at::Tensor FullPass::attend(int64_t layer, const at::Tensor& input, const at::Tensor& query_input) const {
  const at::Tensor context =
      PackedAttention::apply(linear(Role::Query, layer, query_input), linear(Role::Key, layer, input),
                             linear(Role::Value, layer, input), &pass_, layer);
  return linear(Role::AttentionOut, layer, context);
}

at::Tensor FullPass::mlp(int64_t layer, const at::Tensor& x) const {
  const at::Tensor in = linear(Role::MlpIn, layer, x);
  const at::Tensor active =
      pass_.architecture.has(Role::MlpGate) ? at::silu(linear(Role::MlpGate, layer, x)) * in : at::gelu(in);
  return linear(Role::MlpOut, layer, active);
}

at::Tensor FullPass::class_logits(at::Tensor x) const {
  const Architecture& a = pass_.architecture;
  const HeadRow& head = a.family->head;
  if (head.pooler) x = linear(a.name(head.pooler), x).tanh();
  const auto head_drop = [&](const at::Tensor& y, Site site) {
    return drop(y, pass_.plan(a.head_dropout, site, pass_.batch.outputs));
  };
  if (head.dense.saved) {
    if (head.dropout_before_dense) x = head_drop(x, kHeadDense);
    const at::Tensor dense = linear(head.dense.path(), x);
    x = head.dense_squash == Squash::Tanh ? dense.tanh() : dense.relu();
  }
  return linear(head.out.path(), head_drop(x, kHeadOut));
}

at::Tensor FullPass::asking(int64_t layer, const at::Tensor& x) const {
  return pass_.is_last(layer) ? x.index_select(0, pass_.output_index(x.device())) : x;
}

at::Tensor FullPass::linear(const std::string& module, const at::Tensor& x) const {
  return at::linear(x, weights_.at(module + ".weight"), weights_.find(module + ".bias"));
}

at::Tensor FullPass::linear(Role role, int64_t layer, const at::Tensor& x) const {
  return linear(pass_.architecture.module(role, layer), x);
}

at::Tensor FullPass::norm(const std::string& module, const at::Tensor& x) const {
  const Architecture& a = pass_.architecture;
  const at::Tensor& gain = weights_.at(module + ".weight");
  if (a.family->norm == NormKind::Layer) {
    return at::layer_norm(x, {a.hidden}, gain, weights_.at(module + ".bias"), a.norm_eps);
  }
  return x * (x.square().mean(1, true) + a.norm_eps).rsqrt() * gain;
}

at::Tensor FullPass::drop(const at::Tensor& x, const kernels::DropoutPlan& plan) const {
  if (!plan.rate.active()) return x;
  return x * pass_.row_mask(plan, x);
}

at::Tensor FullPass::drop_layer(const at::Tensor& x, double rate, int64_t layer, LayerSite site) const {
  return drop(x, pass_.layer_plan(rate, layer, site, pass_.query_space(layer)));
}

}  // namespace fltac
