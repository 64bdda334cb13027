#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/adamw_math.cuh"
#include "kernels/cuda/device_math.cuh"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    adamw_kernel(std::int64_t vectors, AdamwFactors f, const float* gradient, float* parameter,
                 Bf16* first_moment, Bf16* second_moment, Bf16* copy) {
  const std::int64_t vector = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const std::int64_t at = vector * kLanes;
  float g[kLanes], p[kLanes], m[kLanes], v[kLanes];
#pragma unroll
  for (int half = 0; half < kLanes; half += 4) {
    *reinterpret_cast<float4*>(g + half) = *reinterpret_cast<const float4*>(gradient + at + half);
    *reinterpret_cast<float4*>(p + half) = *reinterpret_cast<const float4*>(parameter + at + half);
  }
  unpack(load8(first_moment + at), m);
  unpack(load8(second_moment + at), v);
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) adamw_update(f, g[lane], p[lane], m[lane], v[lane]);
#pragma unroll
  for (int half = 0; half < kLanes; half += 4)
    *reinterpret_cast<float4*>(parameter + at + half) = *reinterpret_cast<float4*>(p + half);
  store8(first_moment + at, pack(m));
  store8(second_moment + at, pack(v));
  if (copy != nullptr) store8(copy + at, pack(p));
}

}  // namespace

void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient, float* parameter,
           Bf16* first_moment, Bf16* second_moment, Bf16* copy, cudaStream_t stream) {
  require(n % kLanes == 0, "adamw: the number of parameters must be a multiple of 8");
  if (n == 0) return;
  const std::int64_t vectors = n / kLanes;
  adamw_kernel<<<static_cast<unsigned>((vectors + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      vectors, adamw_factors(step), gradient, parameter, first_moment, second_moment, copy);
  check_launch("adamw");
}

}  // namespace orrery::cuda
