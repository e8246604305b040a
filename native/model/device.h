// Devices by the names that users and files give them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fltac {

// Where tensors lie, and by its name which kernels compute on them:
//   cpu, cpu:N            the machine's memory, the CPU's own kernels
//   portable, portable:N  the machine's memory, the kernels meant for all other devices
//   cuda:N                the memory of the N-th CUDA device that is visible
// Other names are other devices even where the memory is one: activations are copied between them.
struct Device {
  std::string name = "cpu";
  at::Device memory = at::kCPU;

  bool operator==(const Device& other) const { return name == other.name; }
  // Whether the CPU's own kernels compute on it.
  bool is_cpu() const { return name.starts_with("cpu"); }
};

// The device of a name; "cuda" is cuda:0. Throws Usage for a name that is none of these, Unsupported for a
// CUDA device that this build or machine does not have.
Device find_device(const std::string& name);

// CUDA devices that are visible; 0 where the build has no CUDA.
int64_t cuda_devices();

struct DeviceMemory {
  Device device;
  int64_t free = 0;  // bytes
};

// The visible CUDA devices and what is free on each now.
std::vector<DeviceMemory> free_cuda_memory();

// x on `to`: a copy, or x itself where both are one device. Undefined stays undefined.
at::Tensor move(const at::Tensor& x, const Device& from, const Device& to);

}  // namespace fltac
