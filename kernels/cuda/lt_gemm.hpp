#pragma once
// Matrix products through cuBLASLt: D[m][n] (+)= A[m][k] B[n][k]^T, all row-major, in
//
//   kBf16        A, B, D BF16
//   kBf16Weight  A and B BF16, D float: the weight gradient
//   kFp8         A E4M3 with scales of rows, B with scales of blocks, D BF16: forward and input
//                gradient (whose B is the weight's transpose)
//   kFp8Weight   A and B E4M3 with scales of rows, D float: the weight gradient, of operands that
//                quantise_columns has transposed
//
// Scales as kernels/cuda/quantise.hpp lays them out. Block scales exist on Hopper (sm_90) only;
// both operands must be innermost in k; k is a multiple of 128, m and n of 8 (cuBLAS 13.0
// documentation, "1D and 2D block scaling"; n of 128 for kFp8 here). Accumulation is in float.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cuda/types.hpp"

struct cublasLtContext;  // cublasLt.h: what a cublasLtHandle_t points to

namespace orrery::cuda {

enum class LtPrecision { kBf16, kBf16Weight, kFp8, kFp8Weight };

constexpr bool is_fp8(LtPrecision precision) {
  return precision == LtPrecision::kFp8 || precision == LtPrecision::kFp8Weight;
}

struct LtShape {
  LtPrecision precision = LtPrecision::kBf16;
  std::int64_t m = 0, n = 0, k = 0;
  bool accumulate = false;  // adds to D
  int sms = 0;              // SMs that it may use; 0: all
};

struct LtOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const float* a_scales = nullptr;
  const float* b_scales = nullptr;
  void* d = nullptr;
};

// The library with its workspace; one a stream.
class LtLibrary {
 public:
  LtLibrary();
  ~LtLibrary();
  LtLibrary(const LtLibrary&) = delete;
  LtLibrary& operator=(const LtLibrary&) = delete;
  cublasLtContext* handle() const;
  void* workspace() const;
  std::size_t workspace_bytes() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A product of one shape. Throws DeviceError where the library has no kernel for it.
class LtGemm {
 public:
  LtGemm(const LtLibrary& library, const LtShape& shape);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  LtGemm& operator=(const LtGemm&) = delete;

  // Times the library's proposals on these operands and keeps the fastest; D is overwritten.
  void tune(const LtOperands& operands, Stream stream);
  void run(const LtOperands& operands, Stream stream) const;
  int proposals() const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace orrery::cuda
