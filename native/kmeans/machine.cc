#include "kmeans/machine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>

#include "core/clones.h"
#include "core/lanes.h"

namespace fltac {
namespace {

constexpr int64_t kValues = int64_t{1} << 26;  // floats of a buffer: 256 MiB, more than any cache
constexpr int64_t kPiece = int64_t{1} << 14;
constexpr int64_t kSide = 1536;  // of the matrices
constexpr int kTries = 5;

// Adds up n values, a multiple of kPiece, in registers: nothing but reading takes time.
FLTAC_CLONES float sum_of(const float* x, int64_t n) {
  using Vector = Lanes<float, 16>;
  Vector a = {}, b = {}, c = {}, d = {};
  for (int64_t j = 0; j < n; j += 64) {
    a += *reinterpret_cast<const Vector*>(x + j);
    b += *reinterpret_cast<const Vector*>(x + j + 16);
    c += *reinterpret_cast<const Vector*>(x + j + 32);
    d += *reinterpret_cast<const Vector*>(x + j + 48);
  }
  const Vector all = (a + b) + (c + d);
  float sum = 0;
  for (int l = 0; l < 16; ++l) sum += all[l];
  return sum;
}

double fastest(const std::function<void()>& work) {
  double least = 1e300;
  for (int t = 0; t < kTries; ++t) {
    const auto started = std::chrono::steady_clock::now();
    work();
    least =
        std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  }
  return least;
}

double product_rate(at::ScalarType type) {
  const at::Tensor a = at::rand({kSide, kSide}, type), b = at::rand({kSide, kSide}, type);
  at::Tensor out = at::empty({kSide, kSide}, type);
  const double flops = 2.0 * kSide * kSide * kSide;
  return flops / fastest([&] { at::mm_out(out, a, b); });
}

}  // namespace

MachineRates measure_machine() {
  MachineRates rates;
  const at::Tensor from = at::ones({kValues}, at::kFloat);
  at::Tensor to = at::zeros({kValues}, at::kFloat);
  const float* source = from.const_data_ptr<float>();
  float* target = to.mutable_data_ptr<float>();
  const double bytes = static_cast<double>(kValues) * sizeof(float);
  rates.copy_bytes =
      bytes / fastest([&] {
        at::parallel_for(0, kValues, kPiece, [&](int64_t begin, int64_t end) {
          std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin) * sizeof(float));
        });
      });
  std::atomic<float> sink{0};  // so that the sums are wanted
  rates.read_bytes = bytes / fastest([&] {
                       at::parallel_for(0, kValues / kPiece, 1, [&](int64_t begin, int64_t end) {
                         sink = sum_of(source + begin * kPiece, (end - begin) * kPiece);
                       });
                     });
  rates.gemm32 = product_rate(at::kFloat);
  rates.gemm64 = product_rate(at::kDouble);
  return rates;
}

}  // namespace fltac
