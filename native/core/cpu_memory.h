// Where libtorch's CPU tensors live while a call computes. A training step frees and asks for the same large
// buffers again and again, in sizes that vary with the batch; from the C library's heap they fragment (a run
// of 8 rounds grew by gigabytes). Here each large buffer is a mapping of its own, kept for reuse until the
// call ends.
#pragma once

namespace fltac {

// Makes libtorch allocate through the cache, for the process. Calls after the first do nothing.
void use_cached_cpu_memory();

// Gives the cached buffers back to the system, unless they are few (128 MiB).
void release_cached_cpu_memory();

}  // namespace fltac
