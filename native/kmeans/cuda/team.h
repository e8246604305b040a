// A block of GPU threads as a class, so that the code of a kernel can be run and tested on the CPU too. A
// kernel's body is a template over its team and consists of phases: in each, every thread runs the same
// function; a barrier follows. Threads share memory between phases only, never within one, so that a team
// which runs its threads one after another computes the same.
//
// C++17 and free of CUDA's headers: g++ compiles it for the tests, nvcc for the device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FLTAC_HD __host__ __device__
#define FLTAC_UNROLL _Pragma("unroll")
#else
#define FLTAC_HD
#define FLTAC_UNROLL
#endif

namespace fltac::cuda {

constexpr int kThreads = 256;  // of a block

// A team on the CPU: one thread after another.
template <typename Shared, typename Registers>
class HostTeam {
 public:
  template <typename Phase>
  void each(Phase phase) {
    for (int t = 0; t < kThreads; ++t) phase(t);
  }
  Shared& shared() { return shared_; }
  // What thread t keeps from phase to phase.
  Registers& registers(int t) { return registers_[t]; }
  // Adds where other teams add too.
  static void add(int64_t* to, int64_t value) { *to += value; }
  static void add(int32_t* to, int32_t value) { *to += value; }
  static void raise(int32_t* to, int32_t value) { *to = value > *to ? value : *to; }

 private:
  Shared shared_{};
  Registers registers_[kThreads]{};
};

#if defined(__CUDACC__)
// A team on the device: `shared` lies in the block's shared memory.
template <typename Shared, typename Registers>
class DeviceTeam {
 public:
  __device__ explicit DeviceTeam(Shared& shared) : shared_(shared) {}
  template <typename Phase>
  __device__ void each(Phase phase) {
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  __device__ Shared& shared() { return shared_; }
  __device__ Registers& registers(int) { return registers_; }
  __device__ static void add(int64_t* to, int64_t value) {
    // Two's complement: adding as unsigned is the same, and what the hardware offers.
    atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
  }
  __device__ static void add(int32_t* to, int32_t value) { atomicAdd(to, value); }
  __device__ static void raise(int32_t* to, int32_t value) { atomicMax(to, value); }

 private:
  Shared& shared_;
  Registers registers_;
};
#endif

}  // namespace fltac::cuda
