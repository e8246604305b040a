#include "model/kv_cache.h"

#include <algorithm>

namespace fltac {

KeyValueCache::KeyValueCache(const Architecture& architecture, int64_t slots, int64_t capacity)
    : capacity_(capacity) {
  for (int64_t layer = 0; layer < architecture.layers; ++layer) {
    layers_.push_back(at::empty({slots * capacity, 2 * architecture.kv_width()}, at::kFloat));
  }
}

void KeyValueCache::store(int64_t layer, const at::Tensor& kv, const std::vector<int64_t>& offsets,
                          const std::vector<CachedPlace>& places) {
  const at::Tensor& rows = layers_[static_cast<size_t>(layer)];
  const int64_t width = kv.size(1), stride = kv.stride(0);
  const float* source = kv.const_data_ptr<float>();
  float* target = rows.mutable_data_ptr<float>();
  for (size_t s = 0; s < places.size(); ++s) {
    const int64_t first = first_row(places[s].slot) + places[s].place - offsets[s];
    for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
      std::copy_n(source + r * stride, width, target + (first + r) * width);
    }
  }
}

}  // namespace fltac
