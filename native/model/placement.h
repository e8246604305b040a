// Which device holds each part of a backbone. Activations go from one device to the next at each boundary.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/device.h"

namespace fltac {

// The parts in the order in which a forward pass meets them: the embedding, every layer, and what follows the
// last layer. Part 0 is the embedding, part 1 + l is layer l.
struct Placement {
  std::vector<Device> devices;  // layers + 2

  const Device& embedding() const { return devices.front(); }
  const Device& layer(int64_t l) const { return devices[static_cast<size_t>(l) + 1]; }
  const Device& output() const { return devices.back(); }
};

// "embedding", "layers.3", "output": as in a device map.
std::string part_name(size_t part, size_t parts);

// Bytes of each part's tensors with `value_bytes` a value. A language-model head counts also where it is the
// word embedding: on another device than that it is a copy.
std::vector<int64_t> part_bytes(const Architecture& architecture, int64_t value_bytes);

// Bytes that are free now on the fullest CUDA device that holds layers; none where no layer lies on one.
std::optional<int64_t> free_layer_memory(const Placement& placement);

// Places parts on devices in their order, so that each device gets one run of neighbouring parts:
//  - on as few devices as have twice the weights' bytes free (the freest first), because each boundary costs
//  a copy
//    and the other half is for activations; on all of them where that much is not to be had;
//  - among these in proportion to their free memory, as device_map="auto" of transformers does;
//  - parts that fit on none go to `spill`.
// `devices` may be empty. Weights take at most nine tenths of a device's free memory.
Placement plan_placement(std::span<const int64_t> bytes, std::span<const DeviceMemory> devices,
                         const Device& spill);

}  // namespace fltac
