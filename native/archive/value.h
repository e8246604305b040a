// What a torch archive (.pt) holds: the tree that src/engine/types.ts calls ArchiveValue.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace fltac {

struct ArchiveValue;

using ArchiveList = std::vector<ArchiveValue>;
using ArchiveKey = std::variant<int64_t, std::string>;

// A Python dict in the order of its insertions.
struct ArchiveDict {
  std::vector<std::pair<ArchiveKey, ArchiveValue>> items;

  // The value of a key; null if there is none.
  const ArchiveValue* find(const ArchiveKey& key) const;
};

// std::monostate is None. Tensors are on the CPU; those read may be views that share memory.
struct ArchiveValue {
  std::variant<std::monostate, bool, int64_t, double, std::string, at::Tensor, ArchiveList, ArchiveDict>
      value;
};

inline const ArchiveValue* ArchiveDict::find(const ArchiveKey& key) const {
  for (const auto& item : items) {
    if (item.first == key) return &item.second;
  }
  return nullptr;
}

// Deepest nesting of lists and dicts that is written or read.
constexpr int kMaxArchiveDepth = 64;

}  // namespace fltac
