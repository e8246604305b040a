// Cross-entropy over class logits.
#pragma once

#include <cstdint>

namespace fltac {

// Mean cross-entropy of rows [rows, classes] against labels, in double. Where gradient is not null it gets
// d(mean)/d(logits) = (softmax - one hot) / rows, of the logits' shape.
double cross_entropy(const float* logits, const int32_t* labels, int64_t rows, int64_t classes,
                     float* gradient);

}  // namespace fltac
