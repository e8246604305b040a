// Single-precision matrix product on row-major buffers. libtorch's own BLAS does the work; inside
// at::parallel_for it runs on the calling thread alone, outside it uses all threads.
#pragma once

#include <cstdint>

extern "C" void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k,
                       const float* alpha, const float* a, const int* lda, const float* b, const int* ldb,
                       const float* beta, float* c, const int* ldc);

namespace fltac {

// C = alpha op(A) op(B) + beta C with op(A) [m, k], op(B) [k, n], C [m, n]; ld* is the distance between two
// rows.
inline void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                 int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  // BLAS is column-major: C^T = op(B)^T op(A)^T.
  const char ta = trans_a ? 'T' : 'N', tb = trans_b ? 'T' : 'N';
  const int mi = static_cast<int>(m), ni = static_cast<int>(n), ki = static_cast<int>(k);
  const int ai = static_cast<int>(lda), bi = static_cast<int>(ldb), ci = static_cast<int>(ldc);
  sgemm_(&tb, &ta, &ni, &mi, &ki, &alpha, b, &bi, a, &ai, &beta, c, &ci);
}

}  // namespace fltac
