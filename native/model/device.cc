#include "model/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/AllocatorConfig.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace fltac {
namespace {

// The number after "kind:", 0 after "kind" alone; nothing where `name` is not of this form.
std::optional<int64_t> number_of(std::string_view name, std::string_view kind) {
  if (!name.starts_with(kind)) return {};
  name.remove_prefix(kind.size());
  if (name.empty()) return 0;
  if (name.front() != ':') return {};
  int64_t number = -1;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 0) return {};
  return number;
}

// Batches without padding ask for memory in ever new sizes, which in segments of fixed size leaves holes. The
// user's own settings go before ours. To be called before a device's memory is first asked for.
void choose_allocator() {
  for (const char* name : {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}) {
    if (std::getenv(name) != nullptr) return;
  }
  c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
}

Device cuda_device(int64_t number) {
  const int64_t present = cuda_devices();
  if (number < present) {
    return {"cuda:" + std::to_string(number), at::Device(at::kCUDA, static_cast<at::DeviceIndex>(number))};
  }
  const std::string found =
      !FLTAC_WITH_CUDA ? "this build of the engine has no CUDA"
      : present == 0   ? "no CUDA device is visible"
      : present == 1   ? "the only visible CUDA device is cuda:0"
                       : "the visible CUDA devices are cuda:0 to cuda:" + std::to_string(present - 1);
  fail(ErrorCode::Unsupported, "the device cuda:", number, " does not exist: ", found);
}

}  // namespace

Device find_device(const std::string& name) {
  if (number_of(name, "cpu") || number_of(name, "portable")) return {name, at::kCPU};
  if (const auto number = number_of(name, "cuda")) return cuda_device(*number);
  fail(ErrorCode::Usage, "expected a device such as cpu, cpu:1, cuda:0 or portable, found \"", name, "\"");
}

int64_t cuda_devices() {
  static const int64_t count = [] {
    const int64_t found = at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : int64_t{0};
    if (found > 0) {
      choose_allocator();
      // TORCH_ALLOW_TF32_CUBLAS_OVERRIDE would else turn on what only the configuration may (Linear).
      at::globalContext().setAllowTF32CuBLAS(false);
    }
    return found;
  }();
  return count;
}

std::vector<DeviceMemory> free_cuda_memory() {
  std::vector<DeviceMemory> all;
  for (int64_t number = 0; number < cuda_devices(); ++number) {
    at::globalContext().lazyInitDevice(at::kCUDA);
    const Device device = cuda_device(number);
    const auto [free, total] = at::accelerator::getMemoryInfo(device.memory.index());
    all.push_back({device, static_cast<int64_t>(free)});
  }
  return all;
}

at::Tensor move(const at::Tensor& x, const Device& from, const Device& to) {
  if (!x.defined() || from == to) return x;
  return x.to(x.options().device(to.memory), /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace fltac
