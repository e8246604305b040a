#include "model/kv_cache.h"

#include "core/transfer.h"

namespace fltac {

KeyValueCache::KeyValueCache(const Architecture& architecture, int64_t slots, int64_t capacity)
    : slots_(slots), capacity_(capacity), layers_(static_cast<size_t>(architecture.layers)) {}

void KeyValueCache::store(int64_t layer, const at::Tensor& kv, const std::vector<int64_t>& offsets,
                          const std::vector<CachedPlace>& places) {
  at::Tensor& rows = layers_[static_cast<size_t>(layer)];
  if (!rows.defined()) rows = at::empty({slots_ * capacity_, kv.size(1)}, kv.options());
  std::vector<int64_t> index;
  for (size_t s = 0; s < places.size(); ++s) {
    const int64_t first = first_row(places[s].slot) + places[s].place;
    for (int64_t r = 0; r < offsets[s + 1] - offsets[s]; ++r) index.push_back(first + r);
  }
  rows.index_copy_(0, upload_lists({index}, kv.device()).front(), kv);
}

}  // namespace fltac
