#include "kernels/blas.hpp"

#include "core/error.hpp"

#ifdef ORRERY_HAVE_BLAS

#include <cblas.h>

#include <limits>
#include <sstream>

// Only OpenBLAS has these: null with another library.
extern "C" {
void openblas_set_num_threads(int threads) __attribute__((weak));
char* openblas_get_config(void) __attribute__((weak));
char* openblas_get_corename(void) __attribute__((weak));
}

namespace orrery::kernels {
namespace {

// Safe from several threads at once: the first call sets, the others wait for it.
void use_one_thread() {
  static const bool done = [] {
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    return true;
  }();
  (void)done;
}

int narrow(std::int64_t value) {
  ORRERY_CHECK(value >= 0 && value <= std::numeric_limits<int>::max(),
               "{} does not fit the integers of BLAS", value);
  return static_cast<int>(value);
}

}  // namespace

bool have_blas() {
  return true;
}

std::string blas_name() {
  if (!openblas_get_config) return "BLAS";
  // The library's text is a list of words: "OpenBLAS 0.3.21 DYNAMIC_ARCH NO_AFFINITY SkylakeX ...".
  std::istringstream words(openblas_get_config());
  std::string name, version;
  words >> name >> version;
  name += ' ' + version;
  if (openblas_get_corename) name += fmt::format(" ({})", openblas_get_corename());
  return name;
}

void sgemm(Transpose transpose_a, Transpose transpose_b, GemmShape shape, const float* a,
           std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
           bool accumulate) {
  use_one_thread();
  const auto blas_transpose = [](Transpose transpose) {
    return transpose == Transpose::kYes ? CblasTrans : CblasNoTrans;
  };
  cblas_sgemm(CblasRowMajor, blas_transpose(transpose_a), blas_transpose(transpose_b),
              narrow(shape.m), narrow(shape.n), narrow(shape.k), 1, a, narrow(lda), b, narrow(ldb),
              accumulate ? 1.0f : 0.0f, c, narrow(ldc));
}

}  // namespace orrery::kernels

#else

namespace orrery::kernels {

bool have_blas() {
  return false;
}

std::string blas_name() {
  return "none (plain C++)";
}

void sgemm(Transpose, Transpose, GemmShape, const float*, std::int64_t, const float*, std::int64_t,
           float*, std::int64_t, bool) {
  ORRERY_CHECK(have_blas(), "sgemm called in a build without BLAS");
}

}  // namespace orrery::kernels

#endif
