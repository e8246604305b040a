// Images to pixel values, as transformers' image processors make them with Pillow.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fltac {

enum class Resample { Bilinear, Bicubic };

struct ImageSize {
  int64_t height, width;
};

// The C++ side of ImagePreprocess (src/engine/types.ts).
struct ImagePreprocess {
  int64_t height, width;
  Resample resample;
  double rescale;
  std::array<float, 3> mean, std;
  // Images are resized to this, of which the centre of height x width is kept; nullopt: to height x width.
  std::optional<ImageSize> resize = std::nullopt;
};

// A view of the caller's bytes, [height, width, 3] row-major.
struct ImageView {
  const uint8_t* rgb;
  int64_t height, width;
};

// Pillow's Image.resize of 8-bit RGB: two separable passes, each rounded to bytes, with the filter widened
// when an image is made smaller. Equal to it in every byte. Returns [to.height, to.width, 3].
std::vector<uint8_t> resize_image(const ImageView& image, const ImageSize& to, Resample resample);

// Resizes, keeps the centre, and writes (byte x rescale - mean) / std to out [3, height, width]. The
// arithmetic is transformers': the product in float64 rounded to float32, the rest in float32. `image` and
// `how` must have passed the checks below.
void preprocess_image(const ImageView& image, const ImagePreprocess& how, float* out);

// Throws Usage for sizes that are not 1 to 16,384, a centre larger than the resized image, or a factor, mean
// or std that gives no finite values. `what` names the settings in errors.
void check_preprocess(const ImagePreprocess& how, const std::string& what);

// Views of images that lie end to end in `pixels`; sizes is [images, 2], height and width. Throws Shape where
// a size is not 1 to 65,535, an image has more pixels than Pillow opens, or the sizes do not cover the bytes
// exactly.
std::vector<ImageView> view_images(std::span<const uint8_t> pixels, std::span<const int32_t> sizes,
                                   const std::string& what);

}  // namespace fltac
