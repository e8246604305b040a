// Adapters in training that belong to parts on other devices: their parameters, gradients and AdamW's state
// live with their parts for the length of a cohort.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "lora/adapter_view.h"
#include "model/kernels.h"

namespace fltac {

class ResidentAdapters final : public AdapterView {
 public:
  // Copies the tensors of these bank rows that belong to layers (LoRA) and the output (a trained head) on
  // other devices than the CPU's there. The copies are not waited for. Memory for gradients and an optimiser
  // state, which starts at zero, is taken when the first of them come, so that a cohort can be uploaded while
  // the one before is still trained. Throws c10::OutOfMemoryError where a device has too little.
  ResidentAdapters(const AdapterBank& bank, std::span<const int64_t> rows);

  AdapterRows locate(std::vector<int64_t> rows, const at::Device& device) const override;
  at::Tensor values(const AdapterRows& rows, int64_t offset, at::IntArrayRef shape,
                    const at::Device& device) const override;

  bool has(int64_t offset) const { return places_.count(offset) > 0; }
  // Keeps the gradients [rows, ...] of the tensor at `offset` for the coming update.
  void keep(const AdapterRows& rows, int64_t offset, const at::Tensor& gradients);
  // One AdamW step (the arithmetic of kernels::adamw) of these bank rows, whose gradients were all kept: a
  // few operations whatever their number and that of their tensors. With `freeze_a` all but LoRA's A.
  void update(const std::vector<int64_t>& rows, const kernels::AdamW& options, int64_t step, bool freeze_a);
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
    int64_t a_columns = 0;  // the first ones: LoRA's A
    std::vector<Tensor> tensors;
    at::Tensor parameters;               // [rows, columns]
    at::Tensor gradients, mean, square;  // the same; undefined until they are written
  };
  struct Place {
    size_t store;
    int64_t local, size;
  };

  void assign();
  void add(const at::Device& device, int64_t offset, int64_t size);
  void fill();
  // A store's gradients, mean or square, zeros where there were none.
  static const at::Tensor& made(at::Tensor& of, const Store& store);
  size_t store_on(const at::Device& device);

  std::vector<int64_t> rows_;                    // bank rows, by the stores' rows
  std::unordered_map<int64_t, int64_t> row_of_;  // the reverse
  std::vector<Store> stores_;
  std::unordered_map<int64_t, Place> places_;  // by offset in the bank's layout
};

}  // namespace fltac
