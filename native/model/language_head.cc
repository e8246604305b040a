#include "model/language_head.h"

#include <algorithm>
#include <span>

namespace fltac {
namespace {

// Logits that are held at a time (64 MiB).
constexpr int64_t kBlockValues = int64_t{1} << 24;

// The number of outputs of the job of each output.
std::vector<double> counts(const RowSpace& outputs) {
  std::vector<double> all;
  for (const JobRows& job : outputs.jobs) {
    all.insert(all.end(), static_cast<size_t>(job.end - job.begin), static_cast<double>(job.end - job.begin));
  }
  return all;
}

}  // namespace

std::vector<double> LanguageHead::losses(const at::Tensor& features, at::Tensor* logits) {
  const Linear& head = pass_.backbone.language_head;
  const int64_t rows = features.size(0), vocab = pass_.architecture.vocab;
  const int64_t block = std::clamp<int64_t>(kBlockValues / vocab, 1, std::max<int64_t>(1, rows));
  const bool gradient = pass_.options.gradients;
  const std::vector<double> count = counts(pass_.batch.outputs);
  std::vector<double> losses;
  if (gradient) dfeatures_ = at::empty_like(features);
  if (logits) *logits = at::empty({rows, vocab}, at::kFloat);
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t n = std::min(block, rows - begin);
    const at::Tensor values = head.forward(features.narrow(0, begin, n));
    if (logits) logits->narrow(0, begin, n).copy_(values);
    const auto first = static_cast<size_t>(begin), size = static_cast<size_t>(n);
    const std::vector<double> found =
        pass_.output_ops().cross_entropy(values, std::span(pass_.batch.targets).subspan(first, size),
                                         std::span(count).subspan(first, size), gradient);
    losses.insert(losses.end(), found.begin(), found.end());
    if (gradient) dfeatures_.narrow(0, begin, n).copy_(head.input_gradient(values));
  }
  return losses;
}

at::Tensor LanguageHead::backward(GradientSink&) { return dfeatures_; }

}  // namespace fltac
