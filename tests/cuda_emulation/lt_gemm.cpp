// What kernels/cuda/lt_gemm.cpp has cuBLASLt do, term by term: the layouts of operands and scales
// are those of its header, the sums are in double.
#include "kernels/cuda/lt_gemm.hpp"

#include <cublasLt.h>

#include <array>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/quantise.hpp"
#include "kernels/fp8.hpp"

std::size_t cublasLtGetVersion() {
  return 0;  // none
}

namespace orrery::cuda {

struct LtLibrary::Parts {};
LtLibrary::LtLibrary() = default;
LtLibrary::~LtLibrary() = default;

struct LtGemm::Plan {
  LtShape shape;
};

namespace {

using Values = std::vector<double>;

std::array<double, 256> numbers_of_codes() {
  std::array<double, 256> numbers{};
  for (std::size_t code = 0; code < numbers.size(); ++code)
    numbers[code] = static_cast<double>(kernels::decode_e4m3(static_cast<std::uint8_t>(code)));
  return numbers;
}

Values of_bf16(std::int64_t n, const void* data) {
  const auto* values = static_cast<const Bf16*>(data);
  return {values, values + n};
}

// A scale for 128 codes of a row, or for 128 x 128.
Values of_codes(std::int64_t rows, std::int64_t k, bool blocks, const void* data,
                const float* scales) {
  static const std::array<double, 256> kNumbers = numbers_of_codes();
  const auto* codes = static_cast<const std::uint8_t*>(data);
  Values values;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t at = 0; at < k; ++at) {
      const std::int64_t tile = at / 128;
      const float scale = blocks ? scales[row / 128 * scale_stride(k / 128) + tile]
                                 : scales[tile * scale_stride(rows) + row];
      values.push_back(kNumbers[codes[row * k + at]] * static_cast<double>(scale));
    }
  }
  return values;
}

}  // namespace

LtGemm::LtGemm(const LtLibrary&, const LtShape& s) : plan_(new Plan{s}) {
  const bool fp8 = is_fp8(s.precision);
  require(s.m > 0 && s.n > 0 && s.k > 0, "emulated product: no rows, columns or terms");
  require(s.m % 8 == 0 && s.k % (fp8 ? 128 : 8) == 0 &&
              s.n % (s.precision == LtPrecision::kFp8 ? 128 : 8) == 0,
          "emulated product: a shape that cuBLASLt does not take");
}
LtGemm::~LtGemm() = default;
int LtGemm::proposals() const {
  return 1;
}
void LtGemm::tune(const LtOperands& operands, Stream stream) {
  run(operands, stream);
}

void LtGemm::run(const LtOperands& o, Stream) const {
  const LtShape& s = plan_->shape;
  const bool blocks = s.precision == LtPrecision::kFp8;
  const Values a =
      is_fp8(s.precision) ? of_codes(s.m, s.k, false, o.a, o.a_scales) : of_bf16(s.m * s.k, o.a);
  const Values b =
      is_fp8(s.precision) ? of_codes(s.n, s.k, blocks, o.b, o.b_scales) : of_bf16(s.n * s.k, o.b);
  const bool wide =
      s.precision == LtPrecision::kBf16Weight || s.precision == LtPrecision::kFp8Weight;
  for (std::int64_t row = 0; row < s.m; ++row) {
    for (std::int64_t column = 0; column < s.n; ++column) {
      const double* x = a.data() + row * s.k;
      const double* y = b.data() + column * s.k;
      double sum = 0;
      for (std::int64_t term = 0; term < s.k; ++term) sum += x[term] * y[term];
      const std::int64_t at = row * s.n + column;
      if (wide) {
        float& d = static_cast<float*>(o.d)[at];
        d = static_cast<float>(sum + (s.accumulate ? static_cast<double>(d) : 0));
      } else {
        Bf16& d = static_cast<Bf16*>(o.d)[at];
        const double before = s.accumulate ? static_cast<double>(__bfloat162float(d)) : 0;
        d = __float2bfloat16(static_cast<float>(sum + before));
      }
    }
  }
}

}  // namespace orrery::cuda
