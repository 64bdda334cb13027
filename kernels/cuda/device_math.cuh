#pragma once
// What the kernels share on the device: eight BF16 values in a 16-byte access, sums over a block,
// and E4M3 codes of 128-element tiles.
#include <cuda_fp8.h>

#include "kernels/cuda/device.cuh"

namespace orrery::cuda {

// Neighbouring threads take neighbouring groups of eight, so 16 threads hold a tile of 128.
constexpr int kLanes = 8;
constexpr int kTile = 128;
constexpr int kTileThreads = kTile / kLanes;
constexpr float kE4m3Max = 448, kLeastAmax = 1e-4f;

struct alignas(16) Bf16x8 {
  __nv_bfloat162 pair[4];
};

__device__ inline void unpack(const Bf16x8& packed, float (&values)[kLanes]) {
#pragma unroll
  for (int pair = 0; pair < 4; ++pair) {
    const float2 both = __bfloat1622float2(packed.pair[pair]);
    values[2 * pair] = both.x;
    values[2 * pair + 1] = both.y;
  }
}

__device__ inline Bf16x8 pack(const float (&values)[kLanes]) {
  Bf16x8 packed;
#pragma unroll
  for (int pair = 0; pair < 4; ++pair)
    packed.pair[pair] = __floats2bfloat162_rn(values[2 * pair], values[2 * pair + 1]);
  return packed;
}

__device__ inline Bf16x8 load8(const Bf16* from) {
  return *reinterpret_cast<const Bf16x8*>(from);
}
__device__ inline void store8(Bf16* to, const Bf16x8& values) {
  *reinterpret_cast<Bf16x8*>(to) = values;
}

__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Of all threads of the block, in all of them. `scratch`: 32 floats of shared memory; two calls
// in a row need scratch of their own.
__device__ inline float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x + 31) / 32;
  float sum = threadIdx.x % 32 < warps ? scratch[threadIdx.x % 32] : 0;
  return warp_sum(sum);
}

// The largest magnitude of the tile whose 16 threads call this.
__device__ inline float tile_amax(const float (&values)[kLanes]) {
  float amax = 0;
#pragma unroll
  for (float value : values) amax = fmaxf(amax, fabsf(value));
#pragma unroll
  for (int distance = kTileThreads / 2; distance > 0; distance /= 2)
    amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, distance));
  return amax;
}

__device__ inline float tile_scale(float amax) {
  return fmaxf(amax, kLeastAmax) / kE4m3Max;
}

__device__ inline std::uint8_t e4m3(float value) {
  return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}

// Correctly rounded quotients by one divisor, without a division for each: with the correctly
// rounded reciprocal y, q = x y is an ulp off at most, and q + (x - q d) y is x / d rounded
// (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990,
// theorem 8). By an infinite one: with both as 0 the same gives a zero of x's sign, or NaN where x
// is infinite, too, as the division does.
class Divisor {
 public:
  __device__ explicit Divisor(float divisor)
      : divisor_(isfinite(divisor) ? divisor : 0),
        reciprocal_(isfinite(divisor) ? 1 / divisor : 0) {}
  __device__ float divide(float x) const {
    const float quotient = x * reciprocal_;
    return fmaf(fmaf(-quotient, divisor_, x), reciprocal_, quotient);
  }

 private:
  float divisor_, reciprocal_;
};

__device__ inline uint2 e4m3x8(const float (&values)[kLanes], float scale) {
  const Divisor divisor(scale);
  std::uint32_t words[2] = {0, 0};
#pragma unroll
  for (int lane = 0; lane < kLanes; lane += 2) {
    const float2 both = make_float2(divisor.divide(values[lane]), divisor.divide(values[lane + 1]));
    const auto codes = __nv_cvt_float2_to_fp8x2(both, __NV_SATFINITE, __NV_E4M3);
    words[lane / 4] |= static_cast<std::uint32_t>(codes) << (8 * (lane % 4));
  }
  return make_uint2(words[0], words[1]);
}

}  // namespace orrery::cuda
