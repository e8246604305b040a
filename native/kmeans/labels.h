// Labels as all paths give them.
#pragma once

#include <cstdint>
#include <vector>

namespace fltac {

// Renumbers labels (0..k-1) by first appearance, so that one clustering has one spelling.
inline void number_by_appearance(std::vector<int32_t>& labels, int64_t k) {
  std::vector<int32_t> name(static_cast<size_t>(k), -1);
  int32_t next = 0;
  for (int32_t& label : labels) {
    int32_t& given = name[static_cast<size_t>(label)];
    if (given < 0) given = next++;
    label = given;
  }
}

// Rows of each cluster: [k].
inline std::vector<int64_t> count_labels(const std::vector<int32_t>& labels, int64_t k) {
  std::vector<int64_t> counts(static_cast<size_t>(k));
  for (const int32_t label : labels) ++counts[static_cast<size_t>(label)];
  return counts;
}

}  // namespace fltac
