// Adapters as a pass reads them: their tensors on the device where they are used.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "lora/bank.h"

namespace fltac {

// Bank rows that are read together, and where a view keeps them (AdapterView::locate).
struct AdapterRows {
  std::vector<int64_t> rows;
  int64_t first = -1;  // as one run of the view's own rows from this one on
  at::Tensor places;   // or as these of its rows, int64; where neither is set, the view keeps no copy
};

class AdapterView {
 public:
  explicit AdapterView(const AdapterBank& bank) : bank_(bank) {}
  AdapterView(const AdapterView&) = delete;
  AdapterView& operator=(const AdapterView&) = delete;
  virtual ~AdapterView() = default;

  // What `values` takes for these bank rows on this device. Worth keeping for a whole batch.
  virtual AdapterRows locate(std::vector<int64_t> rows, const at::Device& device) const;

  // Values [offset, offset + numel(shape)) of each of the rows, float32 [rows, shape...] on the device. One
  // row on the CPU is the bank's own memory, all else a copy, unless a derived view keeps them there.
  virtual at::Tensor values(const AdapterRows& rows, int64_t offset, at::IntArrayRef shape,
                            const at::Device& device) const;

 protected:
  const AdapterBank& bank_;
};

}  // namespace fltac
