#include "model/tensor_attention.h"

namespace fltac {

void tensor_attention(const AttentionPlan& chunks, const kernels::DropoutPlan& plan,
                      const AttentionInput& input, const AttentionTape& tape) {
  for (const AttentionChunk& chunk : chunks.chunks()) {
    const at::Tensor scores = chunk.scores(chunk.pad_queries(input.q), chunk.pad_keys(input.k));
    const at::Tensor log_sum = scores.logsumexp(3, true);
    at::Tensor weights = (scores - log_sum).exp_();
    if (plan.rate.active()) weights = weights * chunk.masks(plan);
    chunk.write_queries(weights.matmul(chunk.pad_keys(input.v)), tape.out);
    if (tape.log_sum.defined()) chunk.write_queries(log_sum, tape.log_sum);
  }
}

// O = D(P) V with D the dropout, so dP = D(dO V^T) and the softmax's row term sum(P dP) is dO . O.
void tensor_attention_backward(const AttentionPlan& chunks, double scale, const kernels::DropoutPlan& plan,
                               const AttentionInput& input, const AttentionTape& tape, const at::Tensor& dout,
                               const AttentionInput& gradient) {
  for (const AttentionChunk& chunk : chunks.chunks()) {
    const at::Tensor q = chunk.pad_queries(input.q), k = chunk.pad_keys(input.k);
    const at::Tensor g = chunk.pad_gradients(dout);
    const at::Tensor p = (chunk.scores(q, k) - chunk.pad_sums(tape.log_sum)).exp_();
    at::Tensor dp = g.matmul(chunk.pad_keys(input.v).transpose(2, 3));
    at::Tensor weights = p;
    if (plan.rate.active()) {
      const at::Tensor masks = chunk.masks(plan);
      weights = p * masks;
      dp = dp * masks;
    }
    const at::Tensor delta = (g * chunk.pad_queries(tape.out)).sum(3, true);
    const at::Tensor ds = p.mul(dp.sub_(delta)).mul_(scale);
    chunk.write_queries(ds.matmul(k), gradient.q);
    chunk.write_keys(ds.transpose(2, 3).matmul(q), gradient.k);
    chunk.write_keys(weights.transpose(2, 3).matmul(g), gradient.v);
  }
}

}  // namespace fltac
