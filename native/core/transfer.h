// Copies between the machine's memory and a device's for which neither waits.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace fltac {

// The values of `host` (in the machine's memory) on a device; for the CPU `host` itself, which then must
// stay. Elsewhere they are copied before this returns to pinned memory, from there on a stream of its own
// while the device computes what it was given before; what it is given from now on waits for the copy.
at::Tensor upload(const at::Tensor& host, const at::Device& device);

// Several lists, each as an int64 tensor of its own, in one upload.
std::vector<at::Tensor> upload_lists(const std::vector<std::vector<int64_t>>& lists,
                                     const at::Device& device);

// A device's values on their way to the machine's memory.
class Download {
 public:
  explicit Download(const at::Tensor& from);
  // The values, when they have arrived; the CPU's are the tensor that was given.
  const at::Tensor& wait();

 private:
  at::Tensor host_;
  std::optional<c10::Event> arrived_;
};

}  // namespace fltac
