#include "model/placement.h"

#include <algorithm>
#include <numeric>

namespace fltac {
namespace {

// The share of a device's free memory that weights may take.
int64_t capacity(const DeviceMemory& device) { return device.free / 10 * 9; }

int64_t total_of(std::span<const int64_t> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

// The devices to use, in the caller's order.
std::vector<DeviceMemory> choose_devices(int64_t weights, std::span<const DeviceMemory> devices) {
  std::vector<size_t> order(devices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return devices[a].free > devices[b].free; });
  size_t wanted = 0;
  for (int64_t free = 0; wanted < order.size() && free < 2 * weights; ++wanted) {
    free += devices[order[wanted]].free;
  }
  order.resize(wanted);
  std::sort(order.begin(), order.end());
  std::vector<DeviceMemory> chosen;
  for (const size_t i : order) chosen.push_back(devices[i]);
  return chosen;
}

// Fills device after device up to `share` of the weights in proportion to capacity, or up to capacity where
// `share` is false. Parts left over go to `spill`.
std::vector<Device> fill(std::span<const int64_t> bytes, const std::vector<DeviceMemory>& devices, bool share,
                         const Device& spill) {
  int64_t room = 0;
  for (const DeviceMemory& device : devices) room += capacity(device);
  const double scale = share ? static_cast<double>(total_of(bytes)) / static_cast<double>(room) : 1.0;
  std::vector<Device> parts(bytes.size(), spill);
  size_t at = 0;
  int64_t load = 0, placed = 0;
  double target = 0.0;  // weights that this device and those before it should hold
  for (size_t part = 0; part < bytes.size(); ++part) {
    const auto full = [&] {
      const bool over = load + bytes[part] > capacity(devices[at]);
      // A part belongs to the device on whose side of the target its middle lies.
      const double middle = static_cast<double>(placed) + static_cast<double>(bytes[part]) / 2.0;
      const bool beyond = share && at + 1 < devices.size() &&
                          middle > target + scale * static_cast<double>(capacity(devices[at]));
      return over || beyond;
    };
    while (at < devices.size() && full()) {
      target += scale * static_cast<double>(capacity(devices[at]));
      load = 0;
      ++at;
    }
    if (at == devices.size()) break;
    parts[part] = devices[at].device;
    load += bytes[part];
    placed += bytes[part];
  }
  return parts;
}

}  // namespace

std::string part_name(size_t part, size_t parts) {
  if (part == 0) return "embedding";
  if (part + 1 == parts) return "output";
  return "layers." + std::to_string(part - 1);
}

std::vector<int64_t> part_bytes(const Architecture& architecture, int64_t value_bytes) {
  // Tensors come as the embedding's, layer by layer, and the rest; a layer's names all begin alike.
  const std::string query = architecture.module(Role::Query, 0);
  const std::string before = query.substr(0, query.find(".0.") + 1);
  std::vector<int64_t> bytes(static_cast<size_t>(architecture.layers) + 2);
  size_t part = 0;
  for (const TensorShape& tensor : architecture.tensors()) {
    if (tensor.name.compare(0, before.size(), before) == 0) {
      part = static_cast<size_t>(std::stoll(tensor.name.substr(before.size()))) + 1;
    } else if (part > 0) {
      part = bytes.size() - 1;
    }
    int64_t values = 1;
    for (const int64_t d : tensor.shape) values *= d;
    bytes[part] += values * value_bytes;
  }
  if (architecture.family->head.language)
    bytes.back() += architecture.vocab * architecture.hidden * value_bytes;
  return bytes;
}

std::optional<int64_t> free_layer_memory(const Placement& placement) {
  std::optional<int64_t> least;
  for (const DeviceMemory& memory : free_cuda_memory()) {
    for (size_t part = 1; part + 1 < placement.devices.size(); ++part) {
      if (placement.devices[part] == memory.device)
        least = std::min(least.value_or(memory.free), memory.free);
    }
  }
  return least;
}

Placement plan_placement(std::span<const int64_t> bytes, std::span<const DeviceMemory> devices,
                         const Device& spill) {
  const std::vector<DeviceMemory> chosen = choose_devices(total_of(bytes), devices);
  if (chosen.empty()) return {std::vector<Device>(bytes.size(), spill)};
  std::vector<Device> parts = fill(bytes, chosen, true, spill);
  // Parts of very different sizes can overrun the last device where the shares would have fitted.
  if (parts.back() == spill) parts = fill(bytes, chosen, false, spill);
  return {parts};
}

}  // namespace fltac
