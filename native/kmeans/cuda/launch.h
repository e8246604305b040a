// The kernels of K-means as functions for C++; `stream` is a cudaStream_t. Errors: those of check.h.
#pragma once

#include "kmeans/cuda/fused_block.h"

namespace fltac::cuda {

// Moves `rows` rows of x [rows, columns] to the frame, in place; see frame_block.
void launch_frame(float* x, int64_t rows, int64_t columns, float scale, const float* shift, float* norm2,
                  int32_t* most, void* stream);

// One iteration of every problem that is not done.
void launch_iteration(const FusedArgs& args, void* stream);

// The last assignment of problems whose labels are older than their centroids (args.last is set), and the
// sums of distances of all.
void launch_last(const FusedArgs& args, void* stream);

// Centres the columns of block [rows, width] into out (see centre_column); sets *bad to the least column that
// holds NaN or infinity, if any is less than it.
void launch_centre(const float* block, int64_t rows, int64_t width, bool centre, double* out, int32_t* bad,
                   void* stream);

}  // namespace fltac::cuda
