#include "model/embedding.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "core/transfer.h"

namespace fltac {
namespace {

// The rows of a table that are asked for, on the table's device, in float32.
at::Tensor look_up(const at::Tensor& table, const std::vector<int32_t>& rows) {
  const at::Tensor index =
      at::from_blob(const_cast<int32_t*>(rows.data()), {static_cast<int64_t>(rows.size())}, at::kInt);
  return at::embedding(table, upload(index, table.device())).to(at::kFloat);
}

at::Tensor embed_tokens(const EmbeddingWeights& w, const PackedBatch& batch) {
  at::Tensor sum = look_up(w.words, batch.ids);
  if (w.positions.defined()) sum.add_(look_up(w.positions, batch.positions));
  if (w.types.defined()) sum.add_(look_up(w.types, batch.types));
  return sum;
}

// The patches of one preprocessed image [channels, height, width] as rows (channel, row, column).
void cut(const ImageGrid& grid, const float* pixels, float* patches) {
  for (int64_t p = 0; p < grid.patches(); ++p) {
    const int64_t top = p / grid.columns() * grid.patch_height, left = p % grid.columns() * grid.patch_width;
    for (int64_t c = 0; c < grid.channels; ++c) {
      for (int64_t y = 0; y < grid.patch_height; ++y) {
        std::copy_n(pixels + (c * grid.height + top + y) * grid.width + left, grid.patch_width, patches);
        patches += grid.patch_width;
      }
    }
  }
}

at::Tensor embed_images(const Architecture& a, const EmbeddingWeights& w, const PackedBatch& batch) {
  const auto images = static_cast<int64_t>(batch.images.size());
  const at::Tensor rows = upload(patch_rows(a.image, batch.images), w.positions.device());
  const at::Tensor patches = w.patches.forward(rows).view({images, a.image.patches(), a.hidden});
  const at::Tensor special =
      w.special.to(at::kFloat).unsqueeze(0).expand({images, a.image.special, a.hidden});
  return at::cat({special, patches}, 1).add_(w.positions.to(at::kFloat)).view({-1, a.hidden});
}

}  // namespace

at::Tensor patch_rows(const ImageGrid& grid, const std::vector<BatchImage>& images) {
  const auto n = static_cast<int64_t>(images.size());
  const int64_t size = grid.patches() * grid.patch_values();
  const at::Tensor rows = at::empty({n * grid.patches(), grid.patch_values()}, at::kFloat);
  float* out = rows.mutable_data_ptr<float>();
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> pixels(static_cast<size_t>(grid.channels * grid.height * grid.width));
    for (int64_t i = begin; i < end; ++i) {
      const BatchImage& image = images[static_cast<size_t>(i)];
      preprocess_image(image.view, *image.how, pixels.data());
      cut(grid, pixels.data(), out + i * size);
    }
  });
  return rows;
}

at::Tensor embed(const Backbone& backbone, const PackedBatch& batch) {
  const Architecture& a = backbone.architecture();
  return a.family->input == Input::Images ? embed_images(a, backbone.embeddings, batch)
                                          : embed_tokens(backbone.embeddings, batch);
}

}  // namespace fltac
