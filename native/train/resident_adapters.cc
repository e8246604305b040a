#include "train/resident_adapters.h"

#include <algorithm>

#include "core/transfer.h"
#include "train/adamw.h"

namespace fltac {
namespace {

// The rows of a store's matrix.
at::Tensor rows_in(const at::Tensor& matrix, const AdapterRows& rows) {
  return rows.places.defined() ? matrix.index_select(0, rows.places)
                               : matrix.narrow(0, rows.first, static_cast<int64_t>(rows.rows.size()));
}

}  // namespace

ResidentAdapters::ResidentAdapters(const AdapterBank& bank, std::span<const int64_t> rows)
    : AdapterView(bank), rows_(rows.begin(), rows.end()) {
  for (size_t i = 0; i < rows_.size(); ++i) row_of_[rows_[i]] = static_cast<int64_t>(i);
  assign();
  fill();
}

size_t ResidentAdapters::store_on(const at::Device& device) {
  const auto found = std::find_if(stores_.begin(), stores_.end(),
                                  [&](const Store& store) { return store.device == device; });
  if (found != stores_.end()) return static_cast<size_t>(found - stores_.begin());
  stores_.push_back({device, 0, 0, {}, {}, {}, {}, {}});
  return stores_.size() - 1;
}

void ResidentAdapters::add(const at::Device& device, int64_t offset, int64_t size) {
  const size_t at = store_on(device);
  Store& store = stores_[at];
  store.tensors.push_back({offset, size, store.columns});
  places_[offset] = {at, store.columns, size};
  store.columns += size;
}

// Every A comes before every other tensor, so that what freeze_a leaves is one block of columns.
void ResidentAdapters::assign() {
  const Architecture& a = bank_.backbone().architecture();
  const Placement& placement = bank_.backbone().placement();
  const int64_t rank = bank_.spec().rank;
  const auto each_slot = [&](const auto& body) {
    for (int64_t layer = 0; layer < a.layers; ++layer) {
      if (placement.layer(layer).is_cpu()) continue;
      for (const Role role : kRoles) {
        const auto& slot = bank_.layout().slot(layer, role);
        if (slot) body(placement.layer(layer).memory, *slot, a.module_shape(role));
      }
    }
  };
  each_slot([&](const at::Device& device, const LoraSlot& slot, const auto& shape) {
    add(device, slot.a_offset, rank * shape[1]);
  });
  for (Store& store : stores_) store.a_columns = store.columns;
  each_slot([&](const at::Device& device, const LoraSlot& slot, const auto& shape) {
    add(device, slot.b_offset, shape[0] * rank);
  });
  if (placement.output().is_cpu() || !bank_.spec().train_head) return;
  for (const auto& head : {bank_.layout().head_dense, bank_.layout().head_out}) {
    if (!head) continue;
    add(placement.output().memory, head->weight, head->outputs * head->inputs);
    add(placement.output().memory, head->bias, head->outputs);
  }
}

void ResidentAdapters::fill() {
  const auto n = static_cast<int64_t>(rows_.size());
  for (Store& store : stores_) {
    const at::Tensor host =
        at::empty({n, store.columns}, at::TensorOptions(at::kFloat).pinned_memory(store.device.is_cuda()));
    for (int64_t i = 0; i < n; ++i) {
      const float* row = bank_.row(rows_[static_cast<size_t>(i)]);
      float* to = host.mutable_data_ptr<float>() + i * store.columns;
      for (const Tensor& tensor : store.tensors)
        std::copy_n(row + tensor.offset, tensor.size, to + tensor.local);
    }
    store.parameters = upload(host, store.device);
  }
}

AdapterRows ResidentAdapters::locate(std::vector<int64_t> rows, const at::Device& device) const {
  std::vector<int64_t> places;
  for (const int64_t row : rows) {
    const auto found = row_of_.find(row);
    if (found == row_of_.end()) return AdapterView::locate(std::move(rows), device);
    places.push_back(found->second);
  }
  bool is_run = true;
  for (size_t i = 0; i < places.size(); ++i) {
    is_run = is_run && places[i] == places.front() + static_cast<int64_t>(i);
  }
  if (is_run) return {std::move(rows), places.front(), {}};
  return {std::move(rows), -1, upload_lists({places}, device).front()};
}

at::Tensor ResidentAdapters::values(const AdapterRows& rows, int64_t offset, at::IntArrayRef shape,
                                    const at::Device& device) const {
  const auto place = places_.find(offset);
  const bool kept = rows.first >= 0 || rows.places.defined();
  if (place == places_.end() || !kept) return AdapterView::values(rows, offset, shape, device);
  const at::Tensor columns =
      stores_[place->second.store].parameters.narrow(1, place->second.local, place->second.size);
  return rows_in(columns, rows).unflatten(1, shape);
}

const at::Tensor& ResidentAdapters::made(at::Tensor& of, const Store& store) {
  if (!of.defined()) of = at::zeros_like(store.parameters);
  return of;
}

void ResidentAdapters::keep(const AdapterRows& rows, int64_t offset, const at::Tensor& gradients) {
  const Place& place = places_.at(offset);
  const at::Tensor columns =
      made(stores_[place.store].gradients, stores_[place.store]).narrow(1, place.local, place.size);
  const at::Tensor flat = gradients.reshape({gradients.size(0), place.size});
  if (rows.places.defined()) {
    at::Tensor to = columns;
    to.index_copy_(0, rows.places, flat);
  } else {
    rows_in(columns, rows).copy_(flat);
  }
}

void ResidentAdapters::update(const std::vector<int64_t>& rows, const kernels::AdamW& options, int64_t step,
                              bool freeze_a) {
  for (Store& store : stores_) {
    const AdapterRows at = locate(rows, store.device);
    const int64_t first = freeze_a ? store.a_columns : 0;
    const auto part = [&](const at::Tensor& of) {
      return rows_in(of.narrow(1, first, store.columns - first), at);
    };
    const at::Tensor parameters = part(store.parameters), mean = part(made(store.mean, store)),
                     square = part(made(store.square, store));
    adamw(options, step, part(made(store.gradients, store)), parameters, mean, square);
    if (!at.places.defined()) continue;  // they were views
    const auto put = [&](const at::Tensor& of, const at::Tensor& values) {
      of.narrow(1, first, store.columns - first).index_copy_(0, at.places, values);
    };
    put(store.parameters, parameters);
    put(store.mean, mean);
    put(store.square, square);
  }
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
