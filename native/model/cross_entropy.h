// Cross-entropy over class logits.
#pragma once

#include <cstdint>

namespace fltac {

// The cross-entropy of one row of logits against its label, in double. Where gradient is not null it gets
// d(loss / count)/d(logits) = (softmax - one hot) / count, [classes].
double cross_entropy(const float* logits, int32_t label, int64_t classes, double count, float* gradient);

// The same over a whole vocabulary, in float32 summed by parts in double, in place: `logits` become the
// gradient where `gradient` is set, else they mean nothing any more.
double cross_entropy_in_place(float* logits, int32_t label, int64_t classes, double count, bool gradient);

}  // namespace fltac
