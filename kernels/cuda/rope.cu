#include <cmath>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/rope.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

// A thread has four pairs.
__global__ void __launch_bounds__(kThreads)
    rope_kernel(std::int64_t vectors, int heads, int stride, int offset, int dim,
                const std::int32_t* positions, const float2* table, float direction, Bf16* x) {
  const std::int64_t vector = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const int of_head = dim / kLanes;
  const std::int64_t head = vector / of_head;
  const auto place = static_cast<int>(vector - head * of_head) * kLanes;
  Bf16* at = x + head * stride + offset + place;
  const float2* angles = table + std::int64_t{positions[head / heads]} * (dim / 2) + place / 2;
  float values[kLanes];
  unpack(load8(at), values);
#pragma unroll
  for (int pair = 0; pair < kLanes / 2; ++pair) {
    const float cosine = angles[pair].x, sine = direction * angles[pair].y;
    const float a = values[2 * pair], b = values[2 * pair + 1];
    values[2 * pair] = a * cosine - b * sine;
    values[2 * pair + 1] = a * sine + b * cosine;
  }
  store8(at, pack(values));
}

}  // namespace

std::vector<float> rope_table(std::int64_t length, std::int64_t dim, double theta) {
  std::vector<float> table;
  for (std::int64_t position = 0; position < length; ++position) {
    for (std::int64_t pair = 0; pair < dim / 2; ++pair) {
      const double angle =
          static_cast<double>(position) *
          std::pow(theta, -2.0 * static_cast<double>(pair) / static_cast<double>(dim));
      table.push_back(static_cast<float>(std::cos(angle)));
      table.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

void rope(std::int64_t rows, std::int64_t heads, std::int64_t stride, std::int64_t offset,
          std::int64_t dim, const std::int32_t* positions, const float* table, bool backward,
          Bf16* x, cudaStream_t stream) {
  require(stride % kLanes == 0 && offset % kLanes == 0 && dim % kLanes == 0,
          "rope: stride, offset and dim must be multiples of 8");
  require(offset + dim <= stride, "rope: the slice leaves its head");
  const std::int64_t vectors = rows * heads * dim / kLanes;
  if (vectors == 0) return;
  rope_kernel<<<static_cast<unsigned>((vectors + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      vectors, static_cast<int>(heads), static_cast<int>(stride), static_cast<int>(offset),
      static_cast<int>(dim), positions, reinterpret_cast<const float2*>(table),
      backward ? -1.0f : 1.0f, x);
  check_launch("rope");
}

}  // namespace orrery::cuda
