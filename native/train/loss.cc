#include "train/loss.h"

#include <algorithm>
#include <cmath>

namespace fltac {

double cross_entropy(const float* logits, const int32_t* labels, int64_t rows, int64_t classes,
                     float* gradient) {
  double total = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * classes;
    const double top = *std::max_element(row, row + classes);
    double sum = 0.0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(row[c] - top);
    total += std::log(sum) - (row[labels[r]] - top);
    if (!gradient) continue;
    for (int64_t c = 0; c < classes; ++c) {
      const double p = std::exp(row[c] - top) / sum - (c == labels[r] ? 1.0 : 0.0);
      gradient[r * classes + c] = static_cast<float>(p / static_cast<double>(rows));
    }
  }
  return total / static_cast<double>(rows);
}

}  // namespace fltac
