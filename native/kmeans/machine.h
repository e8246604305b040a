// What this machine can do at best, for a benchmark to compare with.
#pragma once

namespace fltac {

// The best of several tries, by all threads, per second.
struct MachineRates {
  double copy_bytes = 0;  // copied from one buffer to another; each is read once and written once
  double read_bytes = 0;  // read and added up
  double gemm32 = 0;      // floating-point operations of libtorch's matrix product in float32
  double gemm64 = 0;      // in float64
};

// Takes about a second and half a gigabyte.
MachineRates measure_machine();

}  // namespace fltac
