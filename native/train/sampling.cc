#include "train/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/philox.h"

namespace fltac {
namespace {

// Random sites of answers: this plus the position.
constexpr uint32_t kAnswerSite = 0x80000000;

// The fewest of the most likely tokens that reach top_p together, likeliest first (Holtzman et al. 2020); of
// equally likely ones the lower id goes first.
std::vector<int32_t> nucleus(const std::vector<double>& weights, double wanted) {
  std::vector<int32_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  const auto weight = [&](int32_t token) { return weights[static_cast<size_t>(token)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return weight(a) > weight(b); });
  double reached = 0.0;
  size_t kept = 0;
  while (kept < order.size() && reached < wanted) reached += weight(order[kept++]);
  order.resize(std::max<size_t>(1, kept));
  return order;
}

}  // namespace

int32_t choose_token(std::span<const float> logits, const Sampling& sampling, uint64_t stream,
                     int64_t position) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(*best)) fail(ErrorCode::NonFinite, "the next token's logits are not finite");
  if (sampling.temperature == 0) return static_cast<int32_t>(best - logits.begin());

  std::vector<double> weights(logits.size());
  std::transform(logits.begin(), logits.end(), weights.begin(),
                 [&](float x) { return std::exp((double{x} - double{*best}) / sampling.temperature); });
  std::vector<int32_t> tokens(weights.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  if (sampling.top_p < 1) {
    tokens = nucleus(weights, sampling.top_p * std::accumulate(weights.begin(), weights.end(), 0.0));
  }
  double total = 0.0, drawn = 0.0;
  for (const int32_t token : tokens) total += weights[static_cast<size_t>(token)];
  philox_doubles(stream, kAnswerSite + static_cast<uint32_t>(position), 1, &drawn);
  double reached = 0.0;
  for (const int32_t token : tokens) {
    reached += weights[static_cast<size_t>(token)];
    if (drawn * total < reached) return token;
  }
  return tokens.back();
}

}  // namespace fltac
