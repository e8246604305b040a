#include "lora/adapter_view.h"

#include "core/transfer.h"

namespace fltac {

AdapterRows AdapterView::locate(std::vector<int64_t> rows, const at::Device&) const {
  return {std::move(rows), -1, {}};
}

at::Tensor AdapterView::values(const AdapterRows& rows, int64_t offset, at::IntArrayRef shape,
                               const at::Device& device) const {
  std::vector<at::Tensor> all;
  for (const int64_t row : rows.rows) {
    // The caller only reads: a tensor cannot say so.
    all.push_back(at::from_blob(const_cast<float*>(bank_.row(row) + offset), shape, at::kFloat));
  }
  return upload(all.size() == 1 ? all.front().unsqueeze(0) : at::stack(all), device);
}

}  // namespace fltac
