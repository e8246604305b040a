#include "lora/adapter_view.h"

namespace fltac {

at::Tensor AdapterView::values(int64_t row, int64_t offset, at::IntArrayRef shape,
                               const at::Device& device) const {
  // The caller only reads: a tensor cannot say so.
  auto* start = const_cast<float*>(bank_.row(row) + offset);
  return at::from_blob(start, shape, at::kFloat).to(device);
}

}  // namespace fltac
