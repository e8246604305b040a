// Masks drawn for other devices: the same words as the CPU's kernels draw.
#include "model/masks.h"

#include <ATen/ATen.h>

#include "check.h"
#include "core/philox_lane.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr uint64_t kStream = 0x123456789abcdef0;

// Word `index` of a row as the CUDA kernel finds it.
uint16_t word_by_lane(RowKey key, uint32_t step, uint32_t site, int64_t index) {
  const int64_t chunk = index / kWordsPerChunk;
  for (int lane = 0; lane < kLanesPerChunk; ++lane) {
    uint32_t values[4];
    philox_lane(key.stream, static_cast<uint32_t>(chunk * kLanesPerChunk + lane), key.row, site, step,
                values);
    for (int part = 0; part < 4; ++part) {
      const int64_t place = chunk * kWordsPerChunk + philox_place(lane, part);
      if (place == index) return static_cast<uint16_t>(values[part]);
      if (place + 1 == index) return static_cast<uint16_t>(values[part] >> 16);
    }
  }
  return 0;
}

void lanes_give_the_words_of_the_cpu() {
  constexpr int64_t kWords = 300;
  const RowKey key{kStream, 7};
  std::vector<uint16_t> words(static_cast<size_t>(padded_words(kWords)));
  philox_words(key, 3, 40, kWords, words.data());
  for (int64_t i = 0; i < kWords; ++i) {
    EXPECT(words[static_cast<size_t>(i)] == word_by_lane(key, 3, 40, i), "word", i);
  }
}

void row_masks_are_those_of_dropout() {
  const std::vector<RowKey> keys{{kStream, 0}, {kStream, 1}, {kStream + 1, 0}};
  const kernels::DropoutPlan plan{Dropout(0.3), 5, 9, keys.data()};
  const at::Tensor x = at::arange(1, 3 * 77 + 1, at::kFloat).reshape({3, 77});
  const at::Tensor dropped = at::empty_like(x);
  kernels::dropout(x.const_data_ptr<float>(), plan, 3, 77, dropped.mutable_data_ptr<float>());
  EXPECT(at::equal(dropped, x * MaskBlocks::of_rows(keys.data(), 3, 77, at::kCPU).draw(plan, {3, 77})));
}

void blocks_lie_where_they_should_and_the_rest_is_zero() {
  const std::vector<RowKey> keys{{kStream, 0}};
  const kernels::DropoutPlan plan{Dropout(0.5), 1, 2, keys.data()};
  const at::Tensor mask = MaskBlocks({{keys[0], 2, 3, 4, 10}}, at::kCPU).draw(plan, {3, 10});
  std::vector<uint16_t> words(static_cast<size_t>(padded_words(6)));
  philox_words(keys[0], 1, 2, 6, words.data());
  at::Tensor expected = at::zeros({3, 10});
  for (int64_t i = 0; i < 6; ++i) {
    const bool kept = words[static_cast<size_t>(i)] >= plan.rate.threshold;
    expected[i / 3][4 + i % 3] = kept ? plan.rate.scale : 0.0f;
  }
  EXPECT(at::equal(mask, expected));
}

}  // namespace

int main() {
  return run("masks_test", [] {
    lanes_give_the_words_of_the_cpu();
    row_masks_are_those_of_dropout();
    blocks_lie_where_they_should_and_the_rest_is_zero();
  });
}
