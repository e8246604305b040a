// Keys and values of tokens that were computed already, so that a sequence grows token by token.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "model/architecture.h"
#include "model/attention.h"

namespace fltac {

// Where a sequence of a batch continues: its slot, and how many tokens are there already.
struct CachedPlace {
  int64_t slot;
  int64_t place;
};

class KeyValueCache {
 public:
  // `slots` sequences of at most `capacity` tokens each. Memory is taken as it is written.
  KeyValueCache(const Architecture& architecture, int64_t slots, int64_t capacity);

  int64_t capacity() const { return capacity_; }
  int64_t first_row(int64_t slot) const { return slot * capacity_; }

  // Keeps a layer's keys and values of new tokens: kv [tokens, 2 kv_width], sequence s being the rows
  // offsets[s]..offsets[s + 1] and continuing at places[s].
  void store(int64_t layer, const at::Tensor& kv, const std::vector<int64_t>& offsets,
             const std::vector<CachedPlace>& places);

  // All rows of a layer, [slots capacity, 2 kv_width].
  const at::Tensor& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }

 private:
  int64_t slots_, capacity_;
  std::vector<at::Tensor> layers_;  // on their layers' devices; undefined until the first tokens come
};

}  // namespace fltac
