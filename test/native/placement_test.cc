// Where a backbone's parts go, for made-up devices.
#include "model/placement.h"

#include <algorithm>
#include <map>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kGiB = int64_t{1} << 30;
const Device kCpu;

// A made-up one: nothing is put on it.
DeviceMemory cuda(int64_t number, int64_t free) {
  return {{"cuda:" + std::to_string(number), at::Device(at::kCUDA, static_cast<at::DeviceIndex>(number))},
          free};
}

// An embedding, `layers` equal layers and an output part.
std::vector<int64_t> model(int64_t layers, int64_t layer_bytes) {
  std::vector<int64_t> bytes(static_cast<size_t>(layers) + 2, layer_bytes);
  bytes.front() = bytes.back() = layer_bytes / 2;
  return bytes;
}

// Bytes on each device; checks that each device holds one run of parts.
std::map<std::string, int64_t> loads(const Placement& placement, const std::vector<int64_t>& bytes) {
  std::map<std::string, int64_t> on;
  std::string last;
  for (size_t part = 0; part < bytes.size(); ++part) {
    const std::string& device = placement.devices[part].name;
    if (device != last) EXPECT(on.count(device) == 0);
    on[device] += bytes[part];
    last = device;
  }
  return on;
}

void without_devices_all_parts_spill() {
  const auto bytes = model(4, kGiB);
  const auto on = loads(plan_placement(bytes, {}, kCpu), bytes);
  EXPECT(on.size() == 1);
  EXPECT(on.at("cpu") == 5 * kGiB);
}

void a_model_with_room_stays_on_the_freest_device() {
  const auto bytes = model(4, kGiB);
  const std::vector<DeviceMemory> devices{cuda(0, 11 * kGiB), cuda(1, 80 * kGiB), cuda(2, 40 * kGiB)};
  const auto on = loads(plan_placement(bytes, devices, kCpu), bytes);
  EXPECT(on.size() == 1);
  EXPECT(on.count("cuda:1") == 1);
}

void equal_devices_share_equally() {
  const auto bytes = model(32, kGiB);
  const std::vector<DeviceMemory> devices{cuda(0, 24 * kGiB), cuda(1, 24 * kGiB)};
  const auto on = loads(plan_placement(bytes, devices, kCpu), bytes);
  EXPECT(on.size() == 2);
  EXPECT(std::abs(on.at("cuda:0") - on.at("cuda:1")) <= kGiB);
}

void shares_follow_free_memory() {
  const auto bytes = model(30, kGiB);
  const std::vector<DeviceMemory> devices{cuda(0, 10 * kGiB), cuda(1, 30 * kGiB)};
  const auto on = loads(plan_placement(bytes, devices, kCpu), bytes);
  EXPECT(on.size() == 2);
  EXPECT(std::abs(3 * on.at("cuda:0") - on.at("cuda:1")) <= 4 * kGiB);
}

void what_fits_nowhere_spills_and_nothing_is_overfull() {
  const auto bytes = model(32, kGiB);
  const std::vector<DeviceMemory> devices{cuda(0, 10 * kGiB), cuda(1, 5 * kGiB)};
  const auto placement = plan_placement(bytes, devices, kCpu);
  const auto on = loads(placement, bytes);
  EXPECT(on.size() == 3);
  EXPECT(on.at("cuda:0") <= 9 * kGiB);
  EXPECT(on.at("cuda:1") <= 9 * kGiB / 2);
  EXPECT(placement.output() == kCpu);
  EXPECT(on.at("cuda:0") + on.at("cuda:1") > 11 * kGiB);
}

void uneven_parts_fit_where_they_can() {
  // Shares of 5.5 each would put the second part beyond both devices; filling up does not.
  const std::vector<int64_t> bytes{3 * kGiB, 6 * kGiB, 2 * kGiB};
  const std::vector<DeviceMemory> devices{cuda(0, 10 * kGiB), cuda(1, 3 * kGiB)};
  const auto placement = plan_placement(bytes, devices, kCpu);
  EXPECT(placement.devices[0].name == "cuda:0");
  EXPECT(placement.devices[1].name == "cuda:0");
  EXPECT(placement.devices[2].name == "cuda:1");
}

void parts_hold_every_tensor() {
  const Architecture llama = parse_architecture(
      R"({"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 12, "num_attention_heads": 2,
          "num_key_value_heads": 1, "intermediate_size": 20, "vocab_size": 50, "hidden_act": "silu",
          "rms_norm_eps": 1e-5, "max_position_embeddings": 64})",
      "config.json");
  const auto bytes = part_bytes(llama, 2);
  EXPECT(bytes.size() == 14);
  EXPECT(bytes.front() == 2 * 50 * 8);
  // Query and output, key and value of half the width, three MLP products, two norms.
  for (size_t part = 1; part < 13; ++part) EXPECT(bytes[part] == 2 * (2 * 64 + 2 * 32 + 3 * 160 + 2 * 8));
  EXPECT(bytes.back() == 2 * (50 * 8 + 8));
  EXPECT(part_name(0, 14) == "embedding");
  EXPECT(part_name(12, 14) == "layers.11");
  EXPECT(part_name(13, 14) == "output");
}

void devices_are_known_by_name() {
  for (const char* name : {"cpu", "cpu:0", "cpu:17", "portable", "portable:2"}) {
    EXPECT(find_device(name).name == name);
    EXPECT(find_device(name).memory == at::Device(at::kCPU));
  }
  EXPECT(find_device("cpu").is_cpu());
  EXPECT(!find_device("portable").is_cpu());
  for (const char* name : {"", "gpu", "cpu:", "cpu:x", "cpu:-1", "cpu:1 ", "cpu1", "CPU",
                           "cuda:", "cuda:99999999999999999999"}) {
    EXPECT_FAILS(ErrorCode::Usage, "expected a device such as", find_device(name));
  }
  const std::string beyond = "cuda:" + std::to_string(cuda_devices());
  EXPECT_FAILS(ErrorCode::Unsupported, "does not exist", find_device(beyond));
}

void moving_copies_between_names_only() {
  const at::Tensor x = at::rand({3, 4});
  EXPECT(move(x, find_device("cpu"), find_device("cpu")).is_same(x));
  const at::Tensor y = move(x, find_device("cpu"), find_device("cpu:1"));
  EXPECT(y.const_data_ptr() != x.const_data_ptr());
  EXPECT(y.equal(x));
  EXPECT(!move(at::Tensor(), find_device("cpu"), find_device("cpu:1")).defined());
}

}  // namespace

int main() {
  return run("placement_test", [] {
    without_devices_all_parts_spill();
    a_model_with_room_stays_on_the_freest_device();
    equal_devices_share_equally();
    shares_follow_free_memory();
    what_fits_nowhere_spills_and_nothing_is_overfull();
    uneven_parts_fit_where_they_can();
    parts_hold_every_tensor();
    devices_are_known_by_name();
    moving_copies_between_names_only();
  });
}
