#include "model/image.h"

#include <algorithm>
#include <cmath>

#include "core/clones.h"
#include "core/error.h"

namespace fltac {
namespace {

// The largest side of a model's input; a wrong setting must not ask for all memory.
constexpr int64_t kMaxSide = 16'384;
// Pillow refuses images of more pixels (twice Image.MAX_IMAGE_PIXELS) as decompression bombs.
constexpr int64_t kMaxPixels = 178'956'970;
// JPEG has no longer side; a thin image of many rows would need much memory between the two passes.
constexpr int64_t kMaxImageSide = 65'535;
// Fixed point of Pillow's 8-bit resampling (Resample.c): 32 bits less 8 of the value and 2 for overshoot.
constexpr int kPrecisionBits = 22;
constexpr int64_t kChannels = 3;

// The Bartlett and Keys (a = -0.5) kernels at distance x >= 0, and the distance at which each ends.
struct Filter {
  double (*at)(double x);
  double support;
};

double bilinear(double x) { return x < 1.0 ? 1.0 - x : 0.0; }

double bicubic(double x) {
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

Filter filter_of(Resample resample) {
  return resample == Resample::Bilinear ? Filter{bilinear, 1.0} : Filter{bicubic, 2.0};
}

// One output position: input positions [first, first + count) and where their weights start.
struct Taps {
  int64_t first, count, weights;
};

struct Weights {
  std::vector<Taps> taps;
  std::vector<int32_t> fixed;  // weights x 2^kPrecisionBits
};

int32_t to_fixed(double weight) {
  const double scaled = weight * (1 << kPrecisionBits);
  return static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

// Pillow's precompute_coeffs: the filter is centred on the output position and, when shrinking, stretched to
// cover all inputs between two outputs; its weights sum to 1.
Weights weights_of(int64_t in, int64_t out, const Filter& filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  Weights all;
  std::vector<double> window;
  for (int64_t o = 0; o < out; ++o) {
    const double centre = (static_cast<double>(o) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(centre + support + 0.5), in);
    window.clear();
    double sum = 0.0;
    for (int64_t i = first; i < end; ++i) {
      window.push_back(filter.at(std::abs((static_cast<double>(i) - centre + 0.5) * (1.0 / stretch))));
      sum += window.back();
    }
    all.taps.push_back({first, end - first, static_cast<int64_t>(all.fixed.size())});
    for (const double weight : window) all.fixed.push_back(to_fixed(sum != 0.0 ? weight / sum : weight));
  }
  return all;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

// in [rows, in_width, 3] -> out [rows, taps, 3]
FLTAC_CLONES void resample_rows(const uint8_t* in, int64_t rows, int64_t in_width, const Weights& weights,
                                uint8_t* out) {
  for (int64_t y = 0; y < rows; ++y, in += in_width * kChannels) {
    for (const Taps& taps : weights.taps) {
      int32_t r = kHalf, g = kHalf, b = kHalf;
      const uint8_t* pixel = in + taps.first * kChannels;
      const int32_t* weight = weights.fixed.data() + taps.weights;
      for (int64_t i = 0; i < taps.count; ++i, pixel += kChannels) {
        r += pixel[0] * weight[i];
        g += pixel[1] * weight[i];
        b += pixel[2] * weight[i];
      }
      *out++ = to_byte(r);
      *out++ = to_byte(g);
      *out++ = to_byte(b);
    }
  }
}

// in [in_rows, row_bytes] -> out [taps, row_bytes]
FLTAC_CLONES void resample_columns(const uint8_t* in, int64_t row_bytes, const Weights& weights,
                                   uint8_t* out) {
  std::vector<int32_t> sums(static_cast<size_t>(row_bytes));
  for (const Taps& taps : weights.taps) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t i = 0; i < taps.count; ++i) {
      const uint8_t* row = in + (taps.first + i) * row_bytes;
      const int32_t weight = weights.fixed[static_cast<size_t>(taps.weights + i)];
      int32_t* sum = sums.data();
      for (int64_t x = 0; x < row_bytes; ++x) sum[x] += row[x] * weight;
    }
    for (int64_t x = 0; x < row_bytes; ++x) out[x] = to_byte(sums[static_cast<size_t>(x)]);
    out += row_bytes;
  }
}

size_t bytes_of(int64_t height, int64_t width) { return static_cast<size_t>(height * width * kChannels); }

}  // namespace

std::vector<uint8_t> resize_image(const ImageView& image, const ImageSize& to, Resample resample) {
  const Filter filter = filter_of(resample);
  // As Pillow: first along the rows, and a side that stays is left alone, since the filter alone would blur
  // it.
  std::vector<uint8_t> wide;
  if (to.width == image.width) {
    wide.assign(image.rgb, image.rgb + bytes_of(image.height, image.width));
  } else {
    wide.resize(bytes_of(image.height, to.width));
    resample_rows(image.rgb, image.height, image.width, weights_of(image.width, to.width, filter),
                  wide.data());
  }
  if (to.height == image.height) return wide;
  std::vector<uint8_t> out(bytes_of(to.height, to.width));
  resample_columns(wide.data(), to.width * kChannels, weights_of(image.height, to.height, filter),
                   out.data());
  return out;
}

void preprocess_image(const ImageView& image, const ImagePreprocess& how, float* out) {
  const ImageSize size = how.resize.value_or(ImageSize{how.height, how.width});
  const std::vector<uint8_t> resized = resize_image(image, size, how.resample);
  const int64_t top = (size.height - how.height) / 2, left = (size.width - how.width) / 2;
  const int64_t plane = how.height * how.width;
  for (int64_t c = 0; c < kChannels; ++c) {
    std::array<float, 256> value;
    for (int byte = 0; byte < 256; ++byte) {
      value[static_cast<size_t>(byte)] =
          (static_cast<float>(byte * how.rescale) - how.mean[static_cast<size_t>(c)]) /
          how.std[static_cast<size_t>(c)];
    }
    for (int64_t y = 0; y < how.height; ++y) {
      const uint8_t* row = resized.data() + ((top + y) * size.width + left) * kChannels + c;
      float* target = out + c * plane + y * how.width;
      for (int64_t x = 0; x < how.width; ++x) target[x] = value[row[x * kChannels]];
    }
  }
}

void check_preprocess(const ImagePreprocess& how, const std::string& what) {
  const auto check_size = [&](int64_t height, int64_t width) {
    if (height >= 1 && width >= 1 && height <= kMaxSide && width <= kMaxSide) return;
    fail(ErrorCode::Usage, what, ": expected sides of 1 to ", kMaxSide, " pixels, found ", height, " x ",
         width);
  };
  check_size(how.height, how.width);
  if (how.resize) {
    check_size(how.resize->height, how.resize->width);
    if (how.resize->height < how.height || how.resize->width < how.width) {
      fail(ErrorCode::Usage, what, ": the centre of ", how.height, " x ", how.width,
           " is larger than the image it is cut from, ", how.resize->height, " x ", how.resize->width);
    }
  }
  bool sound = std::isfinite(how.rescale);
  for (size_t c = 0; c < how.mean.size(); ++c)
    sound = sound && std::isfinite(how.mean[c]) && std::isfinite(how.std[c]) && how.std[c] > 0;
  if (!sound) {
    fail(ErrorCode::Usage, what, ": expected a finite rescaleFactor and mean, and a finite std above 0");
  }
}

std::vector<ImageView> view_images(std::span<const uint8_t> pixels, std::span<const int32_t> sizes,
                                   const std::string& what) {
  if (sizes.size() % 2 != 0) {
    fail(ErrorCode::Shape, what, ": ", sizes.size(), " sizes, expected a height and a width of each image");
  }
  std::vector<ImageView> views;
  views.reserve(sizes.size() / 2);
  size_t used = 0;
  for (size_t i = 0; i < sizes.size(); i += 2) {
    const int64_t height = sizes[i], width = sizes[i + 1];
    if (std::min(height, width) < 1 || std::max(height, width) > kMaxImageSide ||
        height * width > kMaxPixels) {
      fail(ErrorCode::Shape, what, ": image ", i / 2, " is ", height, " x ", width,
           ", expected sides of 1 to ", kMaxImageSide, " and at most ", kMaxPixels, " pixels");
    }
    const size_t bytes = bytes_of(height, width);
    if (bytes > pixels.size() - used) {
      fail(ErrorCode::Shape, what, ": image ", i / 2, " of ", height, " x ", width, " ends after the ",
           pixels.size(), " bytes of pixels");
    }
    views.push_back({pixels.data() + used, height, width});
    used += bytes;
  }
  if (used != pixels.size()) {
    fail(ErrorCode::Shape, what, ": the sizes ask for ", used, " bytes of pixels, found ", pixels.size());
  }
  return views;
}

}  // namespace fltac
