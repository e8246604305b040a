#include "train/resident_adapters.h"

#include <algorithm>

#include "train/adamw.h"

namespace fltac {

ResidentAdapters::ResidentAdapters(const AdapterBank& bank, std::span<const int64_t> rows,
                                   const ResidentDevice& device_of)
    : AdapterView(bank), rows_(rows.begin(), rows.end()) {
  for (size_t i = 0; i < rows_.size(); ++i) row_of_[rows_[i]] = static_cast<int64_t>(i);
  assign(device_of);
  fill();
}

size_t ResidentAdapters::store_on(const at::Device& device) {
  const auto found = std::find_if(stores_.begin(), stores_.end(),
                                  [&](const Store& store) { return store.device == device; });
  if (found != stores_.end()) return static_cast<size_t>(found - stores_.begin());
  stores_.push_back({device, 0, {}, {}, {}, {}});
  return stores_.size() - 1;
}

void ResidentAdapters::assign(const ResidentDevice& device_of) {
  const Architecture& a = bank_.backbone().architecture();
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    const std::optional<at::Device> device = device_of(layer);
    if (!device) continue;
    for (const Role role : kRoles) {
      const auto& slot = bank_.layout().slot(layer, role);
      if (!slot) continue;
      const auto [outputs, inputs] = a.module_shape(role);
      const size_t at = store_on(*device);
      Store& store = stores_[at];
      const int64_t rank = bank_.spec().rank;
      for (const auto& [offset, size] :
           {std::pair{slot->a_offset, rank * inputs}, std::pair{slot->b_offset, outputs * rank}}) {
        store.tensors.push_back({offset, size, store.columns});
        places_[offset] = {at, store.columns};
        store.columns += size;
      }
    }
  }
}

void ResidentAdapters::fill() {
  for (Store& store : stores_) {
    const auto n = static_cast<int64_t>(rows_.size());
    const at::Tensor host = at::empty({n, store.columns}, at::kFloat);
    for (int64_t i = 0; i < n; ++i) {
      const float* row = bank_.row(rows_[static_cast<size_t>(i)]);
      float* to = host.mutable_data_ptr<float>() + i * store.columns;
      for (const Tensor& tensor : store.tensors)
        std::copy_n(row + tensor.offset, tensor.size, to + tensor.local);
    }
    store.parameters = host.to(store.device);
    store.mean = at::zeros_like(store.parameters);
    store.square = at::zeros_like(store.parameters);
  }
}

at::Tensor ResidentAdapters::values(int64_t row, int64_t offset, at::IntArrayRef shape,
                                    const at::Device& device) const {
  const auto place = places_.find(offset);
  const auto at = row_of_.find(row);
  if (place == places_.end() || at == row_of_.end()) return AdapterView::values(row, offset, shape, device);
  int64_t size = 1;
  for (const int64_t d : shape) size *= d;
  const Store& store = stores_[place->second.store];
  return store.parameters.select(0, at->second).narrow(0, place->second.local, size).view(shape).to(device);
}

void ResidentAdapters::update(int64_t row, int64_t offset, const at::Tensor& gradient,
                              const kernels::AdamW& options, int64_t step) {
  const Place place = places_.at(offset);
  const Store& store = stores_[place.store];
  const auto part = [&](const at::Tensor& of) {
    return of.select(0, row_of_.at(row)).narrow(0, place.local, gradient.numel());
  };
  const at::Tensor g = gradient.reshape({-1}).to(store.device);
  adamw(options, step, g, part(store.parameters), part(store.mean), part(store.square));
}

void ResidentAdapters::write_back(AdapterBank& bank) const {
  for (const Store& store : stores_) {
    const at::Tensor host = store.parameters.to(at::kCPU);
    for (size_t i = 0; i < rows_.size(); ++i) {
      const float* from = host.const_data_ptr<float>() + static_cast<int64_t>(i) * store.columns;
      float* row = bank.row(rows_[i]);
      for (const Tensor& tensor : store.tensors)
        std::copy_n(from + tensor.local, tensor.size, row + tensor.offset);
    }
  }
}

}  // namespace fltac
