// How the examples of an evaluation are shared out over passes.
#include "train/passes.h"

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

using Passes = std::vector<std::vector<Place>>;

// Jobs of some examples each, of random lengths, out of order.
std::vector<Place> random_places(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Place> places;
  const size_t jobs = random() % 6;
  for (size_t job = 0; job < jobs; ++job) {
    const auto examples = static_cast<int64_t>(random() % 30);
    for (int64_t i = 0; i < examples; ++i)
      places.push_back({job, i, 1 + static_cast<int64_t>(random() % 20)});
  }
  std::shuffle(places.begin(), places.end(), random);
  return places;
}

int64_t tokens_of(const std::vector<Place>& pass) {
  int64_t tokens = 0;
  for (const Place& place : pass) tokens += place.tokens;
  return tokens;
}

int64_t longest_of(const std::vector<Place>& places) {
  int64_t longest = 0;
  for (const Place& place : places) longest = std::max(longest, place.tokens);
  return longest;
}

bool is_before(const Place& a, const Place& b) {
  return std::tie(a.tokens, a.job, a.example) < std::tie(b.tokens, b.job, b.example);
}

void every_example_is_in_one_pass(const Passes& passes, const std::vector<Place>& places) {
  std::set<std::pair<size_t, int64_t>> seen;
  for (const auto& pass : passes) {
    EXPECT(!pass.empty());
    for (const Place& place : pass) EXPECT(seen.insert({place.job, place.example}).second);
  }
  EXPECT(seen.size() == places.size());
}

void a_pass_lies_by_job(const Passes& passes) {
  for (const auto& pass : passes) {
    EXPECT(std::is_sorted(pass.begin(), pass.end(), [](const Place& a, const Place& b) {
      return std::tie(a.job, a.tokens, a.example) < std::tie(b.job, b.tokens, b.example);
    }));
  }
}

void lengths_rise_from_pass_to_pass(const Passes& passes) {
  for (size_t p = 0; p + 1 < passes.size(); ++p) {
    EXPECT(is_before(*std::max_element(passes[p].begin(), passes[p].end(), is_before),
                     *std::min_element(passes[p + 1].begin(), passes[p + 1].end(), is_before)));
  }
}

// No pass could have taken the first example of the next.
void passes_are_full(const Passes& passes, int64_t most) {
  for (size_t p = 0; p < passes.size(); ++p) {
    EXPECT(tokens_of(passes[p]) <= most || passes[p].size() == 1, tokens_of(passes[p]), most);
    if (p + 1 == passes.size()) continue;
    const auto& next = passes[p + 1];
    EXPECT(tokens_of(passes[p]) + std::min_element(next.begin(), next.end(), is_before)->tokens > most);
  }
}

void random_jobs_share_passes() {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const std::vector<Place> places = random_places(seed);
    for (const int64_t batch : {1, 3, 64}) {
      for (const int64_t most : {int64_t{1}, int64_t{25}, kNoLimit}) {
        const Passes passes = plan_passes(places, {batch, most, false});
        every_example_is_in_one_pass(passes, places);
        a_pass_lies_by_job(passes);
        lengths_rise_from_pass_to_pass(passes);
        passes_are_full(passes, std::min(batch * longest_of(places), most));
      }
    }
  }
}

void whole_models_share_none() {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const std::vector<Place> places = random_places(seed);
    const Passes passes = plan_passes(places, {4, kNoLimit, true});
    every_example_is_in_one_pass(passes, places);
    a_pass_lies_by_job(passes);
    size_t job = 0;
    for (const auto& pass : passes) {
      EXPECT(pass.front().job == pass.back().job);
      EXPECT(pass.front().job >= job);
      EXPECT(tokens_of(pass) <= 4 * longest_of(places));
      job = pass.front().job;
    }
  }
}

void a_batch_beyond_all_numbers_is_one_pass() {
  const Passes passes = plan_passes({{0, 0, 9}, {1, 0, 5}}, {kNoLimit, kNoLimit, false});
  EXPECT(passes.size() == 1);
  EXPECT(plan_passes({}, {64, kNoLimit, false}).empty());
}

}  // namespace

int main() {
  return run("passes", [] {
    random_jobs_share_passes();
    whole_models_share_none();
    a_batch_beyond_all_numbers_is_one_pass();
  });
}
