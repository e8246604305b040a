#include "model/language_head.h"

#include <algorithm>

namespace fltac {
namespace {

// Logits that are held at a time (64 MiB).
constexpr int64_t kBlockValues = int64_t{1} << 24;

}  // namespace

at::Tensor LanguageHead::losses(const at::Tensor& features, at::Tensor* logits) {
  const Linear& head = pass_.backbone.language_head;
  const int64_t rows = features.size(0), vocab = pass_.architecture.vocab;
  const int64_t block = std::clamp<int64_t>(kBlockValues / vocab, 1, std::max<int64_t>(1, rows));
  const bool gradient = pass_.options.gradients;
  const at::Tensor losses = at::empty({rows}, features.options().dtype(at::kDouble));
  if (gradient) dfeatures_ = at::empty_like(features);
  if (logits) *logits = at::empty({rows, vocab}, at::kFloat);
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t n = std::min(block, rows - begin);
    const at::Tensor values = head.forward(features.narrow(0, begin, n));
    if (logits) logits->narrow(0, begin, n).copy_(values);
    losses.narrow(0, begin, n)
        .copy_(pass_.output_ops().cross_entropy(values, pass_.targets, begin, gradient));
    if (gradient) dfeatures_.narrow(0, begin, n).copy_(head.input_gradient(values));
  }
  return losses;
}

at::Tensor LanguageHead::backward(GradientSink&) { return dfeatures_; }

}  // namespace fltac
