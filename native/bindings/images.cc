#include "bindings/images.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/values.h"
#include "core/error.h"

namespace fltac::bindings {
namespace {

ImageSize read_size(const Napi::Object& object, const std::string& what) {
  return {as_integer(object.Get("height"), what + ".height"),
          as_integer(object.Get("width"), what + ".width")};
}

Resample read_resample(const Napi::Value& value, const std::string& what) {
  const std::string name = as_string(value, what);
  if (name == "bilinear") return Resample::Bilinear;
  if (name == "bicubic") return Resample::Bicubic;
  fail(ErrorCode::Usage, what, " must be bilinear or bicubic, found ", name);
}

std::array<float, 3> read_channels(const Napi::Value& value, const std::string& what) {
  const Napi::Array array = as_array(value, what);
  if (array.Length() != 3) fail(ErrorCode::Usage, what, " must have 3 numbers, found ", array.Length());
  std::array<float, 3> channels;
  for (uint32_t c = 0; c < 3; ++c) channels[c] = static_cast<float>(as_number(array.Get(c), what));
  return channels;
}

// Values of n images; one array of JavaScript holds no more than 2^32 or so, and half of that is plenty.
size_t value_count(size_t n, const ImagePreprocess& how) {
  const auto each = static_cast<size_t>(3 * how.height * how.width);
  if (n > std::numeric_limits<int32_t>::max() / each) {
    fail(ErrorCode::Usage, n, " images of 3 x ", how.height, " x ", how.width,
         " are too many for one call; give fewer at a time");
  }
  return n * each;
}

}  // namespace

ImagePreprocess read_preprocess(const Napi::Value& value, const std::string& what) {
  const Napi::Object object = as_object(value, what);
  const ImageSize size = read_size(object, what);
  ImagePreprocess how{size.height,
                      size.width,
                      read_resample(object.Get("resample"), what + ".resample"),
                      as_number(object.Get("rescaleFactor"), what + ".rescaleFactor"),
                      read_channels(object.Get("mean"), what + ".mean"),
                      read_channels(object.Get("std"), what + ".std")};
  const Napi::Value resize = object.Get("resize");
  if (!resize.IsUndefined()) how.resize = read_size(as_object(resize, what + ".resize"), what + ".resize");
  check_preprocess(how, what);
  return how;
}

OwnedPixels read_pixels(const Napi::Object& images, const std::string& what) {
  Napi::Uint8Array pixels = as_uint8(images.Get("pixels"), what + ".pixels");
  OwnedPixels owned;
  owned.sizes = copy_int32(images.Get("sizes"), what + ".sizes");
  // Before the copy, which may be large.
  static_cast<void>(view_images({pixels.Data(), pixels.ElementLength()}, owned.sizes, what));
  owned.pixels.assign(pixels.Data(), pixels.Data() + pixels.ElementLength());
  return owned;
}

// (PackedImages) => Promise<Float32Array> [images, 3, height, width]
Napi::Value preprocess_images(const Napi::CallbackInfo& info) {
  using Result = std::vector<float>;
  const Napi::Object object = as_object(info[0], "images");
  const ImagePreprocess how = read_preprocess(object.Get("preprocess"), "images.preprocess");
  const auto images = std::make_shared<const OwnedPixels>(read_pixels(object, "images"));
  const size_t values = value_count(images->sizes.size() / 2, how);
  return run_async<Result>(
      info.Env(), Hooks(info.Env(), info[1]),
      [images, how, values](const Control& control) {
        Result out(values);
        float* next = out.data();
        for (const ImageView& image : view_images(images->pixels, images->sizes, "images")) {
          control.check();
          preprocess_image(image, how, next);
          next += 3 * how.height * how.width;
        }
        return out;
      },
      [](Napi::Env env, Result& out) -> Napi::Value { return floats_to_js(env, out.data(), out.size()); });
}

}  // namespace fltac::bindings
