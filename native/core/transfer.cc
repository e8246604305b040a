#include "core/transfer.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace fltac {
namespace {

// The stream that a device's uploads go through.
c10::Stream copy_stream(const at::Device& device) {
  static std::mutex mutex;
  static std::map<at::DeviceIndex, c10::Stream> streams;
  const std::lock_guard lock(mutex);
  const auto found = streams.find(device.index());
  if (found != streams.end()) return found->second;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return streams.emplace(device.index(), guard.getStreamFromGlobalPool(device)).first->second;
}

at::Tensor pinned_copy(const at::Tensor& host) {
  const at::Tensor pinned =
      at::empty(host.sizes(), at::TensorOptions(host.scalar_type()).pinned_memory(true));
  return pinned.copy_(host);
}

}  // namespace

at::Tensor upload(const at::Tensor& host, const at::Device& device) {
  if (device.is_cpu()) return host;
  const at::Tensor pinned = host.is_pinned() ? host : pinned_copy(host);
  const c10::Stream computing = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  const c10::Stream copying = copy_stream(device);
  at::Tensor copy;
  {
    // Memory of the copying stream: what was freed on the other may still be in use there.
    const c10::StreamGuard guard(copying);
    copy = pinned.to(device, pinned.scalar_type(), /*non_blocking=*/true);
  }
  c10::Event copied(device.type());
  copied.record(copying);
  copied.block(computing);
  copy.record_stream(computing);
  return copy;
}

std::vector<at::Tensor> upload_lists(const std::vector<std::vector<int64_t>>& lists,
                                     const at::Device& device) {
  int64_t size = 0;
  for (const std::vector<int64_t>& list : lists) size += static_cast<int64_t>(list.size());
  const at::Tensor host = at::empty({size}, at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  auto* to = host.mutable_data_ptr<int64_t>();
  for (const std::vector<int64_t>& list : lists) to = std::copy(list.begin(), list.end(), to);
  const at::Tensor all = upload(host, device);
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (const std::vector<int64_t>& list : lists) {
    const auto n = static_cast<int64_t>(list.size());
    parts.push_back(all.narrow(0, first, n));
    first += n;
  }
  return parts;
}

Download::Download(const at::Tensor& from) : host_(from) {
  const at::Device device = from.device();
  if (device.is_cpu()) return;
  host_ = at::empty(from.sizes(), at::TensorOptions(from.scalar_type()).pinned_memory(true));
  host_.copy_(from, /*non_blocking=*/true);
  arrived_.emplace(device.type());
  arrived_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

const at::Tensor& Download::wait() {
  if (arrived_) arrived_->synchronize();
  arrived_.reset();
  return host_;
}

}  // namespace fltac
