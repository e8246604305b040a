// Adapters as a pass reads them: LoRA factors on the device where they are used.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "lora/bank.h"

namespace fltac {

class AdapterView {
 public:
  explicit AdapterView(const AdapterBank& bank) : bank_(bank) {}
  AdapterView(const AdapterView&) = delete;
  AdapterView& operator=(const AdapterView&) = delete;
  virtual ~AdapterView() = default;

  // Values [offset, offset + numel(shape)) of a bank row, float32 on the device. On the CPU they are the
  // bank's own memory, elsewhere a copy, unless a derived view keeps them there.
  virtual at::Tensor values(int64_t row, int64_t offset, at::IntArrayRef shape,
                            const at::Device& device) const;

 protected:
  const AdapterBank& bank_;
};

}  // namespace fltac
