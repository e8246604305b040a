#include "model/masks.h"

#include <ATen/Parallel.h>

#if FLTAC_WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "core/error.h"
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
at::Tensor draw_on_cuda(const std::vector<MaskBlock>& blocks, const kernels::DropoutPlan& plan,
                        at::IntArrayRef shape, const at::Device& device) {
  const c10::cuda::CUDAGuard guard(device);
  const at::Tensor mask = at::zeros(shape, at::TensorOptions(at::kFloat).device(device));
  const auto count = static_cast<int64_t>(blocks.size());
  const auto bytes = count * static_cast<int64_t>(sizeof(cuda::DeviceMaskBlock));
  // Pinned, so that the copy does not wait for what the device is doing.
  const at::Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  auto* to = reinterpret_cast<cuda::DeviceMaskBlock*>(host.mutable_data_ptr<uint8_t>());
  for (const MaskBlock& block : blocks) {
    *to++ = {block.key.stream,
             block.offset,
             block.stride,
             block.key.row,
             static_cast<int32_t>(block.rows),
             static_cast<int32_t>(block.columns)};
  }
  const at::Tensor uploaded = host.to(device, at::kByte, /*non_blocking=*/true);
  const char* error = cuda::launch_masks(
      reinterpret_cast<const cuda::DeviceMaskBlock*>(uploaded.const_data_ptr<uint8_t>()), count,
      {plan.step, plan.site, plan.rate.threshold, plan.rate.scale}, mask.mutable_data_ptr<float>(),
      c10::cuda::getCurrentCUDAStream(device.index()).stream());
  if (error) fail(ErrorCode::Internal, "drawing dropout masks on ", device.str(), " failed: ", error);
  return mask;
}
#endif

}  // namespace

at::Tensor draw_masks(const std::vector<MaskBlock>& blocks, const kernels::DropoutPlan& plan,
                      at::IntArrayRef shape, const at::Device& device) {
#if FLTAC_WITH_CUDA
  if (device.is_cuda()) return draw_on_cuda(blocks, plan, shape, device);
#endif
  const at::Tensor mask = at::zeros(shape, at::kFloat);
  draw_on_host(blocks, plan, mask.mutable_data_ptr<float>());
  return mask.to(device);
}

at::Tensor draw_row_masks(const kernels::DropoutPlan& plan, int64_t rows, int64_t n,
                          const at::Device& device) {
  std::vector<MaskBlock> blocks;
  blocks.reserve(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) blocks.push_back({plan.rows[r], 1, n, r * n, n});
  return draw_masks(blocks, plan, {rows, n}, device);
}

}  // namespace fltac
