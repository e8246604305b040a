#include "model/masks.h"

#include <ATen/Parallel.h>

#if FLTAC_WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "core/error.h"
#include "core/transfer.h"
#include "model/masks_kernel.h"
#endif

namespace fltac {
namespace {

void draw_on_host(const std::vector<MaskBlock>& blocks, const kernels::DropoutPlan& plan, float* mask) {
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> words;
    for (int64_t b = begin; b < end; ++b) {
      const MaskBlock& block = blocks[static_cast<size_t>(b)];
      const int64_t n = block.rows * block.columns;
      words.resize(static_cast<size_t>(padded_words(n)));
      philox_words(block.key, plan.step, plan.site, n, words.data());
      for (int64_t r = 0; r < block.rows; ++r) {
        float* row = mask + block.offset + r * block.stride;
        const uint16_t* drawn = words.data() + r * block.columns;
        for (int64_t c = 0; c < block.columns; ++c) {
          row[c] = drawn[c] >= plan.rate.threshold ? plan.rate.scale : 0.0f;
        }
      }
    }
  });
}

#if FLTAC_WITH_CUDA
// `blocks`: of cuda::DeviceMaskBlock.
void draw_on_cuda(const at::Tensor& blocks, int64_t count, const kernels::DropoutPlan& plan,
                  const at::Tensor& mask) {
  const at::Device device = mask.device();
  const c10::cuda::CUDAGuard guard(device);
  const char* error = cuda::launch_masks(
      reinterpret_cast<const cuda::DeviceMaskBlock*>(blocks.const_data_ptr<uint8_t>()), count,
      {plan.step, plan.site, plan.rate.threshold, plan.rate.scale}, mask.mutable_data_ptr<float>(),
      c10::cuda::getCurrentCUDAStream(device.index()).stream());
  if (error) fail(ErrorCode::Internal, "drawing dropout masks on ", device.str(), " failed: ", error);
}
#endif

}  // namespace

MaskBlocks::MaskBlocks(std::vector<MaskBlock> blocks, const at::Device& device)
    : device_(device), blocks_(std::move(blocks)), count_(static_cast<int64_t>(blocks_.size())) {
  for (const MaskBlock& block : blocks_) values_ += block.rows * block.columns;
#if FLTAC_WITH_CUDA
  if (!device.is_cuda()) return;
  const auto bytes = count_ * static_cast<int64_t>(sizeof(cuda::DeviceMaskBlock));
  const at::Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  auto* to = reinterpret_cast<cuda::DeviceMaskBlock*>(host.mutable_data_ptr<uint8_t>());
  for (const MaskBlock& block : blocks_) {
    *to++ = {block.key.stream,
             block.offset,
             block.stride,
             block.key.row,
             static_cast<int32_t>(block.rows),
             static_cast<int32_t>(block.columns)};
  }
  uploaded_ = upload(host, device);
  blocks_ = {};
#endif
}

MaskBlocks MaskBlocks::of_rows(const RowKey* keys, int64_t rows, int64_t n, const at::Device& device) {
  std::vector<MaskBlock> blocks;
  blocks.reserve(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) blocks.push_back({keys[r], 1, n, r * n, n});
  return {std::move(blocks), device};
}

at::Tensor MaskBlocks::draw(const kernels::DropoutPlan& plan, at::IntArrayRef shape) const {
  const at::Tensor mask =
      at::empty(shape, at::TensorOptions(at::kFloat).device(uploaded_.defined() ? device_ : at::kCPU));
  if (mask.numel() != values_) mask.zero_();
#if FLTAC_WITH_CUDA
  if (uploaded_.defined()) {
    draw_on_cuda(uploaded_, count_, plan, mask);
    return mask;
  }
#endif
  draw_on_host(blocks_, plan, mask.mutable_data_ptr<float>());
  return mask.to(device_);
}

}  // namespace fltac
