#include "model/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "model/kernels.h"

namespace fltac {

double cross_entropy(const float* logits, int32_t label, int64_t classes, double count, float* gradient) {
  const double top = *std::max_element(logits, logits + classes);
  double sum = 0.0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - top);
  if (gradient) {
    for (int64_t c = 0; c < classes; ++c) {
      const double p = std::exp(logits[c] - top) / sum - (c == label ? 1.0 : 0.0);
      gradient[c] = static_cast<float>(p / count);
    }
  }
  return std::log(sum) - (logits[label] - top);
}

double cross_entropy_in_place(float* logits, int32_t label, int64_t classes, double count, bool gradient) {
  constexpr int64_t kPart = 2048;
  const float top = kernels::max_row(logits, classes);
  const double of_label = double{logits[label]} - double{top};
  double sum = 0.0;
  for (int64_t at = 0; at < classes; at += kPart) {
    sum += double{kernels::exp_row(logits + at, std::min(kPart, classes - at), 1.0f, top)};
  }
  if (gradient) {
    kernels::scale_row(logits, classes, static_cast<float>(1.0 / (sum * count)));
    logits[label] -= static_cast<float>(1.0 / count);
  }
  return std::log(sum) - of_label;
}

}  // namespace fltac
