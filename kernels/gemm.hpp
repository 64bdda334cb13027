#pragma once
// General matrix product in the three forms that a linear layer y = x W^T needs, with the weight W
// stored [out, in] as in DeepSeek-V3's reference code (inference/model.py, class Linear):
//
//   gemm_nt   C[m,n] (+)= A[m,k] B[n,k]^T     forward:          y  = x W^T    (A = x,  B = W)
//   gemm_nn   C[m,n] (+)= A[m,k] B[k,n]       input gradient:   dx = dy W     (A = dy, B = W)
//   gemm_tn   C[m,n] (+)= A[k,m]^T B[k,n]     weight gradient:  dW += dy^T x  (A = dy, B = x)
//
// All matrices are row-major. lda, ldb, ldc are the elements between the starts of two rows of the
// matrix as it is stored (so lda >= m in gemm_tn), which lets a matrix be a slice of a wider one.
// (+)= : added to C when `accumulate`, else written; C is then not read, it may hold anything.
// C may not overlap A or B. With m or n = 0 nothing happens; with k = 0 the product is zero.
//
// Order of summation. For double and Dual, and for float without BLAS, the terms of an element of C
// are added in an order that depends on k alone: not on m, n, the leading dimensions, the place of
// the element or the number of threads, and it is the same in all three forms. Splitting the rows
// or columns of C over ranks therefore gives bitwise the same elements (splitting k does not), as
// long as the ranks' processors all have a fused multiply-add or none has
// (kernels/gemm_blocked.hpp). float with BLAS (kernels/blas.hpp) has no such promise.
//
// Defined for T in {float, double, Dual}.
#include <cstdint>

namespace orrery::kernels {

struct GemmShape {
  std::int64_t m = 0;  // rows of C
  std::int64_t n = 0;  // columns of C
  std::int64_t k = 0;  // terms of each element of C
};

template <class T>
void gemm_nt(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate);

template <class T>
void gemm_nn(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate);

template <class T>
void gemm_tn(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate);

}  // namespace orrery::kernels
