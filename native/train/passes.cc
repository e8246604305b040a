#include "train/passes.h"

#include <algorithm>
#include <tuple>

namespace fltac {
namespace {

void sort_places(std::vector<Place>& places, bool by_job) {
  std::sort(places.begin(), places.end(), [by_job](const Place& a, const Place& b) {
    if (by_job) return std::tie(a.job, a.tokens, a.example) < std::tie(b.job, b.tokens, b.example);
    return std::tie(a.tokens, a.job, a.example) < std::tie(b.tokens, b.job, b.example);
  });
}

}  // namespace

std::vector<std::vector<Place>> plan_passes(std::vector<Place> places, const PassRules& rules) {
  sort_places(places, rules.one_job);
  int64_t longest = 0;
  for (const Place& place : places) longest = std::max(longest, place.tokens);
  // batch_size is the caller's: the product may not overflow.
  const int64_t batch = std::min(rules.batch_size, static_cast<int64_t>(places.size()));
  const int64_t most = std::min(batch * longest, rules.most_tokens);
  std::vector<std::vector<Place>> passes;
  int64_t tokens = 0;
  for (const Place& place : places) {
    const bool joins = !passes.empty() && tokens + place.tokens <= most &&
                       (!rules.one_job || passes.back().back().job == place.job);
    if (!joins) {
      passes.emplace_back();
      tokens = 0;
    }
    passes.back().push_back(place);
    tokens += place.tokens;
  }
  for (std::vector<Place>& pass : passes) sort_places(pass, true);
  return passes;
}

}  // namespace fltac
