// Adapters in training that belong to layers on other devices: their parameters and AdamW's state live with
// their layers for the length of a cohort.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "lora/adapter_view.h"
#include "model/kernels.h"

namespace fltac {

// The device that a layer's adapters live on; none where they stay in the bank.
using ResidentDevice = std::function<std::optional<at::Device>(int64_t layer)>;

class ResidentAdapters final : public AdapterView {
 public:
  // Copies the LoRA factors of these bank rows to their layers' devices, with an optimiser state of zeros.
  ResidentAdapters(const AdapterBank& bank, std::span<const int64_t> rows, const ResidentDevice& device_of);

  at::Tensor values(int64_t row, int64_t offset, at::IntArrayRef shape,
                    const at::Device& device) const override;

  bool has(int64_t offset) const { return places_.count(offset) > 0; }
  // One AdamW step (the arithmetic of kernels::adamw) of the tensor at `offset` of a bank row.
  void update(int64_t row, int64_t offset, const at::Tensor& gradient, const kernels::AdamW& options,
              int64_t step);
  // Copies the parameters back to the bank, which is the one that was given.
  void write_back(AdapterBank& bank) const;

 private:
  struct Tensor {
    int64_t offset, size;  // in the bank's layout
    int64_t local;         // first column in the store
  };
  struct Store {
    at::Device device;
    int64_t columns = 0;
    std::vector<Tensor> tensors;
    at::Tensor parameters, mean, square;  // [rows, columns]
  };
  struct Place {
    size_t store;
    int64_t local;
  };

  void assign(const ResidentDevice& device_of);
  void fill();
  size_t store_on(const at::Device& device);

  std::vector<int64_t> rows_;                    // bank rows, by the stores' rows
  std::unordered_map<int64_t, int64_t> row_of_;  // the reverse
  std::vector<Store> stores_;
  std::unordered_map<int64_t, Place> places_;  // by offset in the bank's layout
};

}  // namespace fltac
