#pragma once
// A BLAS library for products of float matrices, if the build found one (ORRERY_HAVE_BLAS). The
// library is held to one thread a call, because the ranks of a run are threads already and would
// otherwise fight for the cores.
//
// OpenBLAS picks its kernels by processor model and may take a slow set for one it does not know;
// blas_name() shows the set, and the environment variable OPENBLAS_CORETYPE overrides it.
#include <cstdint>
#include <string>

#include "kernels/gemm.hpp"

namespace orrery::kernels {

bool have_blas();

// "OpenBLAS 0.3.21 (SkylakeX)", "BLAS" for a library that does not tell its name, "none (plain
// C++)" where there is none.
std::string blas_name();

enum class Transpose : std::uint8_t { kNo, kYes };

// Internal: users call kernels/gemm.hpp. C[m,n] (+)= op(A) op(B), row-major, with the leading
// dimensions of the matrices as stored, each below 2^31. Needs have_blas().
void sgemm(Transpose transpose_a, Transpose transpose_b, GemmShape shape, const float* a,
           std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
           bool accumulate);

}  // namespace orrery::kernels
