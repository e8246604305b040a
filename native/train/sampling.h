// Choosing the next token from its logits.
#pragma once

#include <cstdint>
#include <span>

namespace fltac {

struct Sampling {
  double temperature = 0;  // 0: the most likely token, the first of equals
  double top_p = 1;        // draws from the most likely tokens that together reach this probability
};

// One token of softmax(logits / temperature), [vocab]. What is drawn is a function of (stream, position)
// alone. Throws NonFinite for logits that are not numbers.
int32_t choose_token(std::span<const float> logits, const Sampling& sampling, uint64_t stream,
                     int64_t position);

}  // namespace fltac
