#include "model/embedding.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "core/clones.h"

namespace fltac {
namespace {

at::Tensor as_index(const std::vector<int32_t>& values) {
  return at::from_blob(const_cast<int32_t*>(values.data()), {static_cast<int64_t>(values.size())}, at::kInt);
}

at::Tensor embed_tokens(const EmbeddingWeights& w, const PackedBatch& batch) {
  at::Tensor sum = at::embedding(w.words, as_index(batch.ids)).to(at::kFloat);
  if (w.positions.defined()) sum.add_(at::embedding(w.positions, as_index(batch.positions)));
  if (w.types.defined()) sum.add_(at::embedding(w.types, as_index(batch.types)));
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

// [images x patches, patch values]
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

FLTAC_CLONES void add_rows(const float* a, const float* b, int64_t n, float* sum) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) sum[i] = a[i] + b[i];
}

at::Tensor embed_images(const Architecture& a, const EmbeddingWeights& w, const PackedBatch& batch) {
  const ImageGrid& grid = a.image;
  const at::Tensor patches = w.patches.forward(patch_rows(grid, batch.images));
  const int64_t special = grid.special * a.hidden, rest = grid.patches() * a.hidden;
  const at::Tensor out = at::empty({batch.token_count(), a.hidden}, at::kFloat);
  const at::Tensor position_table = w.positions.to(at::kFloat), special_table = w.special.to(at::kFloat);
  const float* positions = position_table.const_data_ptr<float>();
  at::parallel_for(0, static_cast<int64_t>(batch.images.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* image = out.mutable_data_ptr<float>() + i * (special + rest);
      add_rows(special_table.const_data_ptr<float>(), positions, special, image);
      add_rows(patches.const_data_ptr<float>() + i * rest, positions + special, rest, image + special);
    }
  });
  return out;
}

}  // namespace

at::Tensor embed(const Backbone& backbone, const PackedBatch& batch) {
  const Architecture& a = backbone.architecture();
  return a.family->input == Input::Images ? embed_images(a, backbone.embeddings, batch)
                                          : embed_tokens(backbone.embeddings, batch);
}

}  // namespace fltac
