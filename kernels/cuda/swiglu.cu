#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/quantise.hpp"
#include "kernels/cuda/swiglu.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float sigmoid(float value) {
  return 1 / (1 + __expf(-value));
}

struct Output {
  Bf16* out = nullptr;
  std::uint8_t* codes = nullptr;
  float* scales = nullptr;
  std::int64_t scale_stride = 0;
};

constexpr int kEachThread = 2;

template <bool kFp8>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(std::int64_t vectors, std::int64_t inter, const Bf16* gate_up,
                   const float* row_weight, Output to) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kThreads * kEachThread + threadIdx.x;
  Bf16x8 gates[kEachThread], ups[kEachThread];
#pragma unroll
  for (int each = 0; each < kEachThread; ++each) {
    const std::int64_t element = (first + each * kThreads) * kLanes;
    if (first + each * kThreads >= vectors) break;
    const std::int64_t row = element / inter;
    const Bf16* from = gate_up + element + row * inter;  // 2 inter a row
    gates[each] = load8(from);
    ups[each] = load8(from + inter);
  }
#pragma unroll
  for (int each = 0; each < kEachThread; ++each) {
    const std::int64_t vector = first + each * kThreads;
    const std::int64_t element = vector * kLanes;
    const std::int64_t row = element / inter, column = element - row * inter;
    float out[kLanes] = {};
    if (vector < vectors) {
      float gate[kLanes], up[kLanes];
      unpack(gates[each], gate);
      unpack(ups[each], up);
      const float weight = row_weight == nullptr ? 1 : row_weight[row];
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane)
        out[lane] = weight * gate[lane] * sigmoid(gate[lane]) * up[lane];
    }
    const Bf16x8 rounded = pack(out);
    if constexpr (kFp8) {
      unpack(rounded, out);
      const float scale = tile_scale(tile_amax(out));
      if (vector >= vectors) continue;
      reinterpret_cast<uint2*>(to.codes)[vector] = e4m3x8(out, scale);
      if (column % kTile == 0) to.scales[column / kTile * to.scale_stride + row] = scale;
    } else {
      if (vector < vectors) store8(to.out + element, rounded);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    backward_kernel(std::int64_t vectors, std::int64_t inter, const Bf16* gate_up,
                    const float* row_weight, const Bf16* dout, Bf16* dgate_up) {
  const std::int64_t vector = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const std::int64_t element = vector * kLanes;
  const std::int64_t row = element / inter, column = element % inter;
  const std::int64_t at = row * 2 * inter + column;
  float gate[kLanes], up[kLanes], gradient[kLanes];
  unpack(load8(gate_up + at), gate);
  unpack(load8(gate_up + at + inter), up);
  unpack(load8(dout + element), gradient);
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

unsigned blocks_for(std::int64_t vectors, int of_thread) {
  const std::int64_t of_block = std::int64_t{kThreads} * of_thread;
  return static_cast<unsigned>((vectors + of_block - 1) / of_block);
}

}  // namespace

void swiglu_forward(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                    const float* row_weight, Bf16* out, cudaStream_t stream) {
  require(inter % kLanes == 0, "swiglu: inter must be a multiple of 8");
  const std::int64_t vectors = rows * inter / kLanes;
  if (vectors == 0) return;
  forward_kernel<false><<<blocks_for(vectors, kEachThread), kThreads, 0, stream>>>(
      vectors, inter, gate_up, row_weight, {out});
  check_launch("swiglu_forward");
}

void swiglu_forward_fp8(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                        const float* row_weight, std::uint8_t* codes, float* scales,
                        cudaStream_t stream) {
  require(inter % kTile == 0, "swiglu: inter must be a multiple of 128 for codes");
  const std::int64_t vectors = rows * inter / kLanes;
  if (vectors == 0) return;
  forward_kernel<true><<<blocks_for(vectors, kEachThread), kThreads, 0, stream>>>(
      vectors, inter, gate_up, row_weight, {nullptr, codes, scales, scale_stride(rows)});
  check_launch("swiglu_forward_fp8");
}

void swiglu_backward_input(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                           const float* row_weight, const Bf16* dout, Bf16* dgate_up,
                           cudaStream_t stream) {
  require(inter % kLanes == 0, "swiglu: inter must be a multiple of 8");
  const std::int64_t vectors = rows * inter / kLanes;
  if (vectors == 0) return;
  backward_kernel<<<blocks_for(vectors, 1), kThreads, 0, stream>>>(vectors, inter, gate_up,
                                                                   row_weight, dout, dgate_up);
  check_launch("swiglu_backward_input");
}

}  // namespace orrery::cuda
