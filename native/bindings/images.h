// Reading images and their preprocessing from JavaScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/image.h"

namespace fltac::bindings {

// Throws Usage as check_preprocess does.
ImagePreprocess read_preprocess(const Napi::Value& value, const std::string& what);

// Copies of pixels and sizes of PackedImages, checked by view_images.
struct OwnedPixels {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> sizes;
};
OwnedPixels read_pixels(const Napi::Object& images, const std::string& what);

}  // namespace fltac::bindings
