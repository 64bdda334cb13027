#pragma once
// Values for tests of the CUDA kernels: every kernel against its twin on the host in double, on the
// operands that the kernel sees (BF16, or dequantised E4M3). Outputs are poisoned with NaN before.
//
// Tolerances, relative in the Frobenius norm: BF16 results are rounded to 8 bits of mantissa, at
// most 2^-9 = 2e-3 of each element; sums in float of n terms add less. 4e-3 leaves room for
// intermediate roundings to BF16 (attention's p: 1e-2). Codes and scales are compared bit for bit.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/quantise.hpp"

namespace orrery::cuda {

inline constexpr double kBf16Tolerance = 4e-3;

inline std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, double scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> values(size(count));
  for (float& value : values) value = static_cast<float>(normal(generator));
  return values;
}

inline std::vector<Bf16> random_bf16(std::int64_t count, unsigned seed, double scale = 1) {
  std::vector<Bf16> values;
  for (float value : random_floats(count, seed, scale)) values.push_back(__float2bfloat16(value));
  return values;
}

inline std::vector<double> doubles(const std::vector<Bf16>& values) {
  std::vector<double> out;
  for (Bf16 value : values) out.push_back(__bfloat162float(value));
  return out;
}
inline std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// |a - b| / |b|; infinite where an element is not a number.
inline double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double error = 0, scale = 0;
  for (std::size_t at = 0; at < b.size(); ++at) {
    if (!std::isfinite(a[at])) return INFINITY;
    error += (a[at] - b[at]) * (a[at] - b[at]);
    scale += b[at] * b[at];
  }
  return scale > 0 ? std::sqrt(error / scale) : std::sqrt(error);
}

// Says so before Hopper, for which cuDNN has no backward of heads of more than 128.
inline bool without_wide_backward() {
  if (multiplies_fp8()) return false;
  WARN("not checked: cuDNN has no backward of such heads for this device");
  return true;
}

template <class T>
Device<T> poisoned(std::int64_t count) {
  Device<T> made(size(std::max<std::int64_t>(count, 1)));
  made.fill(0xff);
  return made;
}

// A device scale array back in the host's layout [rows][tiles].
inline std::vector<float> host_scales(const std::vector<float>& scales, std::int64_t rows,
                                      std::int64_t tiles) {
  std::vector<float> out;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t tile = 0; tile < tiles; ++tile)
      out.push_back(scales[size(tile * scale_stride(rows) + row)]);
  }
  return out;
}

}  // namespace orrery::cuda
