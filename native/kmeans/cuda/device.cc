// The CUDA paths: memory, transfers and the loop around the launches of kernels.cu. Compiled and linked
// wherever a CUDA libtorch and nvcc are there; docs/kmeans.md says on which GPU it has run.
#if FLTAC_WITH_CUDA

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "kmeans/cuda/check.h"
#include "kmeans/cuda/cuda.h"
#include "kmeans/cuda/launch.h"
#include "kmeans/cuda/plan.h"

namespace fltac::cuda {
namespace {

// Iterations launched between two looks at how many problems are left; those that are done launch empty.
constexpr int kIterationsPerLook = 4;

// Memory of a block of columns on the device: float32 as it came, float64 centred.
constexpr int64_t kBlockBytes = int64_t{512} << 20;

void* stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

at::Tensor on_device(at::IntArrayRef shape, at::ScalarType type) {
  return at::empty(shape, at::TensorOptions(at::kCUDA).dtype(type));
}

template <typename T>
T* data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

void copy_to_device(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream())),
        "copying to the GPU");
}

void copy_from_device(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream())),
        "copying from the GPU");
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream())), "waiting for the GPU");
}

void fill(void* data, int byte, size_t bytes) {
  check(cudaMemsetAsync(data, byte, bytes, static_cast<cudaStream_t>(stream())), "filling memory of the GPU");
}

// Runs work on the device; libtorch's errors become the core's.
template <typename Work>
auto guarded(const Work& work) -> decltype(work()) {
  require_device();
  try {
    return work();
  } catch (const c10::OutOfMemoryError&) {
    fail(ErrorCode::OutOfMemory, "the GPU's memory ran out while clustering: use device \"cpu\"");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    fail(ErrorCode::Internal,
         "libtorch failed on the GPU while clustering: ", text.substr(0, text.find('\n')));
  }
}

// Device memory of a batch, and the arguments that point into it.
class FusedDevice {
 public:
  FusedDevice(std::span<const FusedData> data, std::span<const Seeds> seeds, const KmeansOptions& options)
      : options_(options), plan_(plan_fused(data, seeds, options)), args_(plan_.sizes) {
    allocate();
    send_rows(data);
    send_starts();
  }

  FusedBatch run() {
    int64_t iterations = 0;
    auto left = static_cast<int32_t>(args_.problems);
    while (left > 0 && iterations < options_.max_iter) {
      stop_if_cancelled(options_.cancelled);
      for (int i = 0; i < kIterationsPerLook && iterations < options_.max_iter; ++i, ++iterations)
        launch_iteration(args_, stream());
      copy_from_device(&left, args_.unfinished, sizeof left);
    }
    args_.last = true;
    launch_last(args_, stream());
    std::vector<ProblemState> states(plan_.states.size());
    std::vector<int32_t> labels(static_cast<size_t>(args_.problems * args_.points));
    copy_from_device(states.data(), args_.states, states.size() * sizeof(ProblemState));
    copy_from_device(labels.data(), args_.labels, labels.size() * sizeof(int32_t));
    return collect_fused(plan_, states, labels, iterations + 1);
  }

 private:
  template <typename T>
  T* keep(at::IntArrayRef shape, at::ScalarType type) {
    memory_.push_back(on_device(shape, type));
    return data_of<T>(memory_.back());
  }

  void allocate() {
    const int64_t sets = plan_.sets(), n = args_.points, d = args_.columns;
    const int64_t b = args_.problems, k = args_.clusters;
    x_ = keep<float>({sets, n, d}, at::kFloat);
    norm2_ = keep<float>({sets, n}, at::kFloat);
    args_.x = x_;
    args_.norm2 = norm2_;
    args_.centroids = keep<float>({b, k, d}, at::kFloat);
    args_.half_norms = keep<float>({b, k}, at::kFloat);
    args_.labels = keep<int32_t>({b, n}, at::kInt);
    args_.distances = keep<float>({b, n}, at::kFloat);
    args_.sums = keep<int64_t>({b, k, d}, at::kLong);
    args_.counts = keep<int64_t>({b, k}, at::kLong);
    args_.moved = keep<double>({b, k}, at::kDouble);
    args_.states = reinterpret_cast<ProblemState*>(
        keep<uint8_t>({b, static_cast<int64_t>(sizeof(ProblemState))}, at::kByte));
    args_.unfinished = keep<int32_t>({1}, at::kInt);
    fill(args_.labels, 0xff, static_cast<size_t>(b * n) * sizeof(int32_t));
    fill(args_.sums, 0, static_cast<size_t>(b * k * d) * sizeof(int64_t));
    fill(args_.counts, 0, static_cast<size_t>(b * k) * sizeof(int64_t));
  }

  // Rows travel as they are and are moved to the frame on the device.
  void send_rows(std::span<const FusedData> data) {
    const auto row_bytes = static_cast<size_t>(data.front().row_bytes());
    auto* most = keep<int32_t>({1}, at::kInt);
    fill(most, 0, sizeof(int32_t));
    for (size_t i = 0; i < data.size(); ++i) {
      float* x = x_ + static_cast<int64_t>(i) * args_.points * args_.columns;
      const std::vector<const float*>& rows = data[i].rows;
      // Rows that lie one after another travel together.
      for (size_t first = 0; first < rows.size();) {
        size_t last = first + 1;
        while (last < rows.size() && rows[last] == rows[last - 1] + args_.columns) ++last;
        copy_to_device(x + static_cast<int64_t>(first) * args_.columns, rows[first],
                       (last - first) * row_bytes);
        first = last;
      }
      auto* shift = keep<float>({args_.columns}, at::kFloat);
      copy_to_device(shift, data[i].frame.shift.data(), row_bytes);
      launch_frame(x, args_.points, args_.columns, data[i].frame.scale, shift,
                   norm2_ + static_cast<int64_t>(i) * args_.points, most, stream());
    }
    int32_t bits = 0;
    copy_from_device(&bits, most, sizeof bits);
    float largest = 0;
    std::memcpy(&largest, &bits, sizeof largest);
    args_.steps = steps_for(args_.points, largest);
  }

  void send_starts() {
    const auto left = static_cast<int32_t>(args_.problems);
    copy_to_device(args_.centroids, plan_.centroids.data(), plan_.centroids.size() * sizeof(float));
    copy_to_device(args_.half_norms, plan_.half_norms.data(), plan_.half_norms.size() * sizeof(float));
    copy_to_device(args_.states, plan_.states.data(), plan_.states.size() * sizeof(ProblemState));
    copy_to_device(args_.unfinished, &left, sizeof left);
    check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream())), "waiting for the GPU");
  }

  const KmeansOptions& options_;
  FusedPlan plan_;
  FusedArgs args_;
  std::vector<at::Tensor> memory_;
  float* x_ = nullptr;
  float* norm2_ = nullptr;
};

// Adds the products of one block of columns to gram [n, n].
void add_block(const RowSet& set, ColumnRange range, Origin origin, at::Tensor& gram) {
  const int64_t n = set.rows(), width = range.end - range.begin;
  const ColumnBlock block = set.read(range.begin, width);
  const at::Tensor raw = on_device({n, width}, at::kFloat), centred = on_device({n, width}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    copy_to_device(data_of<float>(raw) + i * width, block.rows[static_cast<size_t>(i)],
                   static_cast<size_t>(width) * sizeof(float));
  }
  const at::Tensor bad = on_device({1}, at::kInt);
  int32_t first_bad = std::numeric_limits<int32_t>::max();
  copy_to_device(data_of<int32_t>(bad), &first_bad, sizeof first_bad);
  launch_centre(data_of<float>(raw), n, width, origin == Origin::kMean, data_of<double>(centred),
                data_of<int32_t>(bad), stream());
  copy_from_device(&first_bad, data_of<int32_t>(bad), sizeof first_bad);
  if (first_bad != std::numeric_limits<int32_t>::max()) {
    std::vector<float> values;
    for (const float* row : block.rows) values.push_back(row[first_bad]);
    fail_non_finite(set, values, range.begin + first_bad);
  }
  gram.addmm_(centred, centred.t());
}

}  // namespace

bool device_present() { return c10::cuda::device_count() > 0; }

void require_device() {
  if (device_present()) return;
  fail(ErrorCode::Unsupported,
       "device \"cuda\" was asked for, but this machine has no CUDA device that libtorch can use: use "
       "\"cpu\" or "
       "\"auto\" (`nvidia-smi` shows the driver's view)");
}

std::vector<double> gram_of_columns(const RowSet& rows, ColumnRange range, Origin origin,
                                    const Cancelled& cancelled) {
  return guarded([&] {
    const int64_t n = rows.rows();
    const int64_t fit = kBlockBytes / static_cast<int64_t>(sizeof(float) + sizeof(double)) / n;
    const int64_t step = std::min(rows.block_columns(), std::max<int64_t>(1, fit));
    at::Tensor gram = at::zeros({n, n}, at::TensorOptions(at::kCUDA).dtype(at::kDouble));
    for (int64_t first = range.begin; first < range.end; first += step) {
      stop_if_cancelled(cancelled);
      add_block(rows, {first, std::min(range.end, first + step)}, origin, gram);
    }
    std::vector<double> result(static_cast<size_t>(n * n));
    copy_from_device(result.data(), data_of<double>(gram), result.size() * sizeof(double));
    // cuBLAS need not round an entry and its mirror image alike.
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j)
        result[static_cast<size_t>(i * n + j)] = result[static_cast<size_t>(j * n + i)];
    }
    return result;
  });
}

FusedBatch run_fused(std::span<const FusedData> data, std::span<const Seeds> seeds,
                     const KmeansOptions& options) {
  return guarded([&] { return FusedDevice(data, seeds, options).run(); });
}

}  // namespace fltac::cuda

#endif
