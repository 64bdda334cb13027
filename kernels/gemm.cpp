#include "kernels/gemm.hpp"

#include <type_traits>

#include "kernels/blas.hpp"
#include "kernels/gemm_blocked.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// lda and ldb of matrices as stored; Transpose says how they are read as A[m,k] and B[k,n].
template <class T>
void gemm(Transpose transpose_a, Transpose transpose_b, GemmShape shape, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool accumulate) {
  if constexpr (std::is_same_v<T, float>) {
    // Empty products go to gemm_blocked: not every BLAS takes them.
    if (have_blas() && shape.m > 0 && shape.n > 0 && shape.k > 0)
      return sgemm(transpose_a, transpose_b, shape, a, lda, b, ldb, c, ldc, accumulate);
  }
  const auto view = [](const T* data, std::int64_t stride, Transpose transpose) {
    return transpose == Transpose::kYes ? MatrixView<T>{data, 1, stride}
                                        : MatrixView<T>{data, stride, 1};
  };
  gemm_blocked(shape, view(a, lda, transpose_a), view(b, ldb, transpose_b), c, ldc, accumulate);
}

}  // namespace

template <class T>
void gemm_nt(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate) {
  gemm(Transpose::kNo, Transpose::kYes, shape, a, lda, b, ldb, c, ldc, accumulate);
}

template <class T>
void gemm_nn(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate) {
  gemm(Transpose::kNo, Transpose::kNo, shape, a, lda, b, ldb, c, ldc, accumulate);
}

template <class T>
void gemm_tn(GemmShape shape, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool accumulate) {
  gemm(Transpose::kYes, Transpose::kNo, shape, a, lda, b, ldb, c, ldc, accumulate);
}

#define ORRERY_INSTANTIATE(T)                                                          \
  template void gemm_nt(GemmShape, const T*, std::int64_t, const T*, std::int64_t, T*, \
                        std::int64_t, bool);                                           \
  template void gemm_nn(GemmShape, const T*, std::int64_t, const T*, std::int64_t, T*, \
                        std::int64_t, bool);                                           \
  template void gemm_tn(GemmShape, const T*, std::int64_t, const T*, std::int64_t, T*, \
                        std::int64_t, bool);
ORRERY_INSTANTIATE(float)
ORRERY_INSTANTIATE(double)
ORRERY_INSTANTIATE(Dual)
#undef ORRERY_INSTANTIATE

}  // namespace orrery::kernels
