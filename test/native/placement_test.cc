// Where a backbone's parts go, for made-up devices.
#include "model/placement.h"

#include <algorithm>
#include <map>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kGiB = int64_t{1} << 30;

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
    const std::string& device = placement.devices[part];
    if (device != last) EXPECT(on.count(device) == 0);
    on[device] += bytes[part];
    last = device;
  }
  return on;
}

void without_devices_all_parts_spill() {
  const auto bytes = model(4, kGiB);
  const auto on = loads(plan_placement(bytes, {}, "cpu"), bytes);
  EXPECT(on.size() == 1);
  EXPECT(on.at("cpu") == 5 * kGiB);
}

void a_model_with_room_stays_on_the_freest_device() {
  const auto bytes = model(4, kGiB);
  const std::vector<DeviceMemory> devices{{"cuda:0", 11 * kGiB}, {"cuda:1", 80 * kGiB}, {"cuda:2", 40 * kGiB}};
  const auto on = loads(plan_placement(bytes, devices, "cpu"), bytes);
  EXPECT(on.size() == 1);
  EXPECT(on.count("cuda:1") == 1);
}

void equal_devices_share_equally() {
  const auto bytes = model(32, kGiB);
  const std::vector<DeviceMemory> devices{{"cuda:0", 24 * kGiB}, {"cuda:1", 24 * kGiB}};
  const auto on = loads(plan_placement(bytes, devices, "cpu"), bytes);
  EXPECT(on.size() == 2);
  EXPECT(std::abs(on.at("cuda:0") - on.at("cuda:1")) <= kGiB);
}

void shares_follow_free_memory() {
  const auto bytes = model(30, kGiB);
  const std::vector<DeviceMemory> devices{{"cuda:0", 10 * kGiB}, {"cuda:1", 30 * kGiB}};
  const auto on = loads(plan_placement(bytes, devices, "cpu"), bytes);
  EXPECT(on.size() == 2);
  EXPECT(std::abs(3 * on.at("cuda:0") - on.at("cuda:1")) <= 4 * kGiB);
}

void what_fits_nowhere_spills_and_nothing_is_overfull() {
  const auto bytes = model(32, kGiB);
  const std::vector<DeviceMemory> devices{{"cuda:0", 10 * kGiB}, {"cuda:1", 5 * kGiB}};
  const auto placement = plan_placement(bytes, devices, "cpu");
  const auto on = loads(placement, bytes);
  EXPECT(on.size() == 3);
  EXPECT(on.at("cuda:0") <= 9 * kGiB);
  EXPECT(on.at("cuda:1") <= 9 * kGiB / 2);
  EXPECT(placement.output() == "cpu");
  EXPECT(on.at("cuda:0") + on.at("cuda:1") > 11 * kGiB);
}

void uneven_parts_fit_where_they_can() {
  // Shares of 5.5 each would put the second part beyond both devices; filling up does not.
  const std::vector<int64_t> bytes{3 * kGiB, 6 * kGiB, 2 * kGiB};
  const std::vector<DeviceMemory> devices{{"cuda:0", 10 * kGiB}, {"cuda:1", 3 * kGiB}};
  const auto placement = plan_placement(bytes, devices, "cpu");
  EXPECT(placement.devices == (std::vector<std::string>{"cuda:0", "cuda:0", "cuda:1"}));
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
  });
}
