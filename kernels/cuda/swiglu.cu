#include <algorithm>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/quantise.hpp"
#include "kernels/cuda/swiglu.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

// Its division is two ulp off at most, which BF16 does not see.
__device__ float sigmoid(float value) {
  return __fdividef(1, 1 + __expf(-value));
}

struct Output {
  Bf16* out = nullptr;
  std::uint8_t* codes = nullptr;
  float* scales = nullptr;
  std::int64_t scale_stride = 0;
};

// A block has part of a row, or all of it: no thread divides to find its place.
template <bool kFp8>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(int vectors, const Bf16* gate_up, const float* row_weight, Output to) {
  const std::int64_t row = blockIdx.x;
  const int vector = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);  // of the row
  const bool used = vector < vectors;
  float out[kLanes] = {};
  if (used) {
    const Bf16* from = gate_up + (row * 2 * vectors + vector) * kLanes;
    float gate[kLanes], up[kLanes];
    unpack(load8(from), gate);
    unpack(load8(from + vectors * kLanes), up);
    const float weight = row_weight == nullptr ? 1 : row_weight[row];
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane)
      out[lane] = weight * gate[lane] * sigmoid(gate[lane]) * up[lane];
  }
  const Bf16x8 rounded = pack(out);
  const std::int64_t place = row * vectors + vector;
  if constexpr (kFp8) {
    // Threads beyond the end take part in the tile's maximum with zeros.
    unpack(rounded, out);
    const float scale = tile_scale(tile_amax(out));
    if (!used) return;
    reinterpret_cast<uint2*>(to.codes)[place] = e4m3x8(out, scale);
    if (vector % kTileThreads == 0)
      to.scales[vector / kTileThreads * to.scale_stride + row] = scale;
  } else {
    if (used) store8(to.out + place * kLanes, rounded);
  }
}

__global__ void __launch_bounds__(kThreads)
    backward_kernel(int vectors, const Bf16* gate_up, const float* row_weight, const Bf16* dout,
                    Bf16* dgate_up) {
  const std::int64_t row = blockIdx.x;
  const int vector = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);  // of the row
  if (vector >= vectors) return;
  const std::int64_t at = (row * 2 * vectors + vector) * kLanes, inter = vectors * kLanes;
  float gate[kLanes], up[kLanes], gradient[kLanes];
  unpack(load8(gate_up + at), gate);
  unpack(load8(gate_up + at + inter), up);
  unpack(load8(dout + (row * vectors + vector) * kLanes), gradient);
  const float weight = row_weight == nullptr ? 1 : row_weight[row];
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    const float s = sigmoid(gate[lane]);
    const float scaled = weight * gradient[lane];
    const float silu = gate[lane] * s;
    gate[lane] = scaled * up[lane] * s * (1 + gate[lane] * (1 - s));
    up[lane] = scaled * silu;
  }
  store8(dgate_up + at, pack(gate));
  store8(dgate_up + at + inter, pack(up));
}

dim3 blocks_for(std::int64_t rows, std::int64_t inter) {
  constexpr std::int64_t kOfBlock = std::int64_t{kThreads} * kLanes;
  return {static_cast<unsigned>(rows), static_cast<unsigned>((inter + kOfBlock - 1) / kOfBlock)};
}
// Whole warps; fewer where a row is short.
unsigned threads_for(std::int64_t inter) {
  return static_cast<unsigned>(std::min<std::int64_t>((inter / kLanes + 31) / 32 * 32, kThreads));
}

}  // namespace

void swiglu_forward(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                    const float* row_weight, Bf16* out, cudaStream_t stream) {
  require(inter % kLanes == 0, "swiglu: inter must be a multiple of 8");
  if (rows * inter == 0) return;
  forward_kernel<false><<<blocks_for(rows, inter), threads_for(inter), 0, stream>>>(
      static_cast<int>(inter / kLanes), gate_up, row_weight, {out});
  check_launch("swiglu_forward");
}

void swiglu_forward_fp8(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                        const float* row_weight, std::uint8_t* codes, float* scales,
                        cudaStream_t stream) {
  require(inter % kTile == 0, "swiglu: inter must be a multiple of 128 for codes");
  if (rows * inter == 0) return;
  forward_kernel<true><<<blocks_for(rows, inter), threads_for(inter), 0, stream>>>(
      static_cast<int>(inter / kLanes), gate_up, row_weight,
      {nullptr, codes, scales, scale_stride(rows)});
  check_launch("swiglu_forward_fp8");
}

void swiglu_backward_input(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                           const float* row_weight, const Bf16* dout, Bf16* dgate_up,
                           cudaStream_t stream) {
  require(inter % kLanes == 0, "swiglu: inter must be a multiple of 8");
  if (rows * inter == 0) return;
  backward_kernel<<<blocks_for(rows, inter), threads_for(inter), 0, stream>>>(
      static_cast<int>(inter / kLanes), gate_up, row_weight, dout, dgate_up);
  check_launch("swiglu_backward_input");
}

}  // namespace orrery::cuda
