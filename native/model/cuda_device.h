// What a CUDA device can do; includes no libtorch header.
#pragma once

namespace fltac::cuda {

// The first number of the device's compute capability, such as 9 for 9.0; 0 where CUDA does not tell.
int capability_major(int device);

}  // namespace fltac::cuda
