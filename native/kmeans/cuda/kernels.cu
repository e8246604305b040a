// Launches of the kernels whose bodies fused_block.h and gram_block.h hold. No libtorch header: nvcc reads
// C++17.
#include <algorithm>

#include "kmeans/cuda/check.h"
#include "kmeans/cuda/gram_block.h"
#include "kmeans/cuda/launch.h"

namespace fltac::cuda {
namespace {

using AssignTeam = DeviceTeam<AssignShared, AssignRegisters>;
using ReduceTeam = DeviceTeam<ReduceShared, NoRegisters>;

// The largest second dimension of a grid; more problems take several launches' worth of a loop.
constexpr int64_t kMaxGridRows = 65535;

__global__ void __launch_bounds__(kThreads) assign_kernel(FusedArgs args) {
  __shared__ AssignShared shared;
  AssignTeam team(shared);
  for (int64_t problem = blockIdx.y; problem < args.problems; problem += gridDim.y)
    assign_block(team, args, blockIdx.x, problem);
}

__global__ void __launch_bounds__(kThreads) refill_kernel(FusedArgs args) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  refill_block(team, args, blockIdx.x);
}

__global__ void __launch_bounds__(kThreads) move_kernel(FusedArgs args) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  for (int64_t problem = blockIdx.y; problem < args.problems; problem += gridDim.y)
    move_block(team, args, blockIdx.x, problem);
}

__global__ void __launch_bounds__(kThreads) decide_kernel(FusedArgs args) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  decide_block(team, args, blockIdx.x);
}

__global__ void __launch_bounds__(kThreads) clear_kernel(FusedArgs args) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  clear_block(team, args, blockIdx.x);
}

__global__ void __launch_bounds__(kThreads) total_kernel(FusedArgs args) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  total_block(team, args, blockIdx.x);
}

__global__ void __launch_bounds__(kThreads)
    frame_kernel(float* x, int64_t columns, float scale, const float* shift, float* norm2, int32_t* most) {
  __shared__ ReduceShared shared;
  ReduceTeam team(shared);
  frame_block(team, x + blockIdx.x * columns, columns, scale, shift, norm2 + blockIdx.x, most);
}

__global__ void __launch_bounds__(kThreads)
    centre_kernel(const float* block, int64_t rows, int64_t width, bool centre, double* out, int32_t* bad) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= width) return;
  if (!centre_column(block, rows, width, column, centre, out)) atomicMin(bad, static_cast<int32_t>(column));
}

dim3 grid(int64_t x, int64_t y = 1) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(std::min(y, kMaxGridRows)));
}

int64_t blocks_for(const FusedArgs& args) { return (args.points + kBlockPoints - 1) / kBlockPoints; }

void check_launch(const char* doing) { check(cudaGetLastError(), doing); }

}  // namespace

void launch_frame(float* x, int64_t rows, int64_t columns, float scale, const float* shift, float* norm2,
                  int32_t* most, void* stream) {
  frame_kernel<<<grid(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(x, columns, scale, shift,
                                                                               norm2, most);
  check_launch("preparing the rows");
}

void launch_iteration(const FusedArgs& args, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  clear_kernel<<<grid(args.problems), kThreads, 0, on>>>(args);
  assign_kernel<<<grid(blocks_for(args), args.problems), kThreads, 0, on>>>(args);
  refill_kernel<<<grid(args.problems), kThreads, 0, on>>>(args);
  move_kernel<<<grid(args.clusters, args.problems), kThreads, 0, on>>>(args);
  decide_kernel<<<grid(args.problems), kThreads, 0, on>>>(args);
  check_launch("clustering");
}

void launch_last(const FusedArgs& args, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  assign_kernel<<<grid(blocks_for(args), args.problems), kThreads, 0, on>>>(args);
  refill_kernel<<<grid(args.problems), kThreads, 0, on>>>(args);
  total_kernel<<<grid(args.problems), kThreads, 0, on>>>(args);
  check_launch("assigning rows for the last time");
}

void launch_centre(const float* block, int64_t rows, int64_t width, bool centre, double* out, int32_t* bad,
                   void* stream) {
  centre_kernel<<<grid((width + kThreads - 1) / kThreads), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      block, rows, width, centre, out, bad);
  check_launch("centring the rows");
}

}  // namespace fltac::cuda
