#include <algorithm>
#include <cmath>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/rope.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256, kMostTokens = 64, kInFlight = 4;

// Threads are [tokens][heads][vectors of a slice]. One has four pairs of some heads of a token,
// which turn by the same angles.
__global__ void __launch_bounds__(kThreads)
    rope_kernel(std::int64_t rows, int heads, int stride, int offset, int dim,
                const std::int32_t* positions, const float2* table, float direction, Bf16* x) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.z + threadIdx.z;
  if (row >= rows) return;
  const int place = static_cast<int>(threadIdx.x) * kLanes;
  const float2* angles = table + std::int64_t{positions[row]} * (dim / 2) + place / 2;
  float cosine[kLanes / 2], sine[kLanes / 2];
#pragma unroll
  for (int pair = 0; pair < kLanes / 2; ++pair) {
    cosine[pair] = angles[pair].x;
    sine[pair] = direction * angles[pair].y;
  }
  Bf16* own = x + row * heads * stride + offset + place;
  const int step = static_cast<int>(blockDim.y);
  for (int first = static_cast<int>(threadIdx.y); first < heads; first += kInFlight * step) {
    Bf16x8 loaded[kInFlight];
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const std::int64_t head = first + each * step;
      if (head < heads) loaded[each] = load8(own + head * stride);
    }
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const std::int64_t head = first + each * step;
      if (head >= heads) break;
      float values[kLanes];
      unpack(loaded[each], values);
#pragma unroll
      for (int pair = 0; pair < kLanes / 2; ++pair) {
        const float a = values[2 * pair], b = values[2 * pair + 1];
        values[2 * pair] = a * cosine[pair] - b * sine[pair];
        values[2 * pair + 1] = a * sine[pair] + b * cosine[pair];
      }
      store8(own + head * stride, pack(values));
    }
  }
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
  require(dim <= std::int64_t{kThreads} * kLanes, "rope: the slice is longer than a block");
  if (rows * heads * dim == 0) return;
  const std::int64_t vectors = dim / kLanes;
  const std::int64_t of_token = std::min(heads, kThreads / vectors);
  const std::int64_t tokens = std::min<std::int64_t>(kThreads / (vectors * of_token), kMostTokens);
  const dim3 threads(static_cast<unsigned>(vectors), static_cast<unsigned>(of_token),
                     static_cast<unsigned>(tokens));
  rope_kernel<<<static_cast<unsigned>((rows + tokens - 1) / tokens), threads, 0, stream>>>(
      rows, static_cast<int>(heads), static_cast<int>(stride), static_cast<int>(offset),
      static_cast<int>(dim), positions, reinterpret_cast<const float2*>(table),
      backward ? -1.0f : 1.0f, x);
  check_launch("rope");
}

}  // namespace orrery::cuda
