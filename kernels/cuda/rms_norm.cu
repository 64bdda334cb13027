#include <type_traits>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/quantise.hpp"
#include "kernels/cuda/rms_norm.hpp"

namespace orrery::cuda {
namespace {

// A block a row, with so many threads that each keeps kEach vectors of it in registers.
constexpr int kMostThreads = 256;

struct Output {
  Bf16* y = nullptr;
  std::uint8_t* codes = nullptr;
  float* scales = nullptr;
  std::int64_t scale_stride = 0;
};

// The thread's vectors of a row.
template <int kEach>
__device__ void load_row(const Bf16* row, int vectors, Bf16x8 (&loaded)[kEach]) {
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    const int vector = each * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (vector < vectors) loaded[each] = load8(row + vector * kLanes);
  }
}

// A block takes two of the long rows and loads the second before it sums up the first: memory is
// busy while threads wait for each other. More rows a block would leave some SMs behind, where an
// exchange holds others. Blocks of an SM: as many as leave registers for both rows.
template <bool kFp8>
constexpr int kResident = kFp8 ? 3 : 4;
template <int kEach, bool kFp8>
__global__ void __launch_bounds__(kMostThreads, kResident<kFp8>)
    forward_kernel(std::int64_t rows, int columns, const Bf16* x, const float* weight,
                   float epsilon, Output out, float* inverse_rms) {
  __shared__ float scratch[2][32];  // in turns: a warp may be a row ahead
  const int vectors = columns / kLanes;
  Bf16x8 next[kEach];
  load_row<kEach>(x + std::int64_t{blockIdx.x} * columns, vectors, next);
  int turn = 0;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x, turn = 1 - turn) {
    Bf16x8 own[kEach];
    float squares = 0;
#pragma unroll
    for (int each = 0; each < kEach; ++each) {
      const int vector = each * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      if (vector >= vectors) break;
      own[each] = next[each];
      float values[kLanes];
      unpack(own[each], values);
#pragma unroll
      for (float value : values) squares += value * value;
    }
    if (row + gridDim.x < rows) load_row<kEach>(x + (row + gridDim.x) * columns, vectors, next);
    const float mean = block_sum(squares, scratch[turn]) / static_cast<float>(columns);
    const float r = rsqrtf(mean + epsilon);
    if (threadIdx.x == 0) inverse_rms[row] = r;
#pragma unroll
    for (int each = 0; each < kEach; ++each) {
      const int vector = each * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      // All threads of a tile leave together: tiles do not straddle the end of a row.
      if (vector >= vectors) break;
      float values[kLanes], w[kLanes];
      unpack(own[each], values);
      *reinterpret_cast<float4*>(w) = *reinterpret_cast<const float4*>(weight + vector * kLanes);
      *reinterpret_cast<float4*>(w + 4) =
          *reinterpret_cast<const float4*>(weight + vector * kLanes + 4);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) values[lane] *= r * w[lane];
      const Bf16x8 rounded = pack(values);
      if constexpr (kFp8) {
        unpack(rounded, values);
        float amax = 0;
#pragma unroll
        for (float value : values) amax = fmaxf(amax, fabsf(value));
        // The other tile of the warp may have left.
        const unsigned mask = threadIdx.x % 32 < kTileThreads ? 0x0000ffffu : 0xffff0000u;
#pragma unroll
        for (int distance = kTileThreads / 2; distance > 0; distance /= 2)
          amax = fmaxf(amax, __shfl_xor_sync(mask, amax, distance));
        const float scale = tile_scale(amax);
        *reinterpret_cast<uint2*>(out.codes + row * columns + vector * kLanes) =
            e4m3x8(values, scale);
        if (threadIdx.x % kTileThreads == 0)
          out.scales[vector / kTileThreads * out.scale_stride + row] = scale;
      } else {
        store8(out.y + row * columns + vector * kLanes, rounded);
      }
    }
  }
}

template <int kEach>
__global__ void __launch_bounds__(kMostThreads)
    backward_input_kernel(int columns, const Bf16* x, const float* weight, const float* inverse_rms,
                          const Bf16* dy, Bf16* dx) {
  __shared__ float scratch[32];
  const std::int64_t row = blockIdx.x;
  const int vectors = columns / kLanes;
  Bf16x8 kept_x[kEach];
  float weighted[kEach][kLanes];
  float sum = 0;
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    const int vector = each * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (vector >= vectors) break;
    kept_x[each] = load8(x + row * columns + vector * kLanes);
    float values[kLanes], w[kLanes];
    unpack(load8(dy + row * columns + vector * kLanes), weighted[each]);
    unpack(kept_x[each], values);
    *reinterpret_cast<float4*>(w) = *reinterpret_cast<const float4*>(weight + vector * kLanes);
    *reinterpret_cast<float4*>(w + 4) =
        *reinterpret_cast<const float4*>(weight + vector * kLanes + 4);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      weighted[each][lane] *= w[lane];
      sum += weighted[each][lane] * values[lane];
    }
  }
  const float r = inverse_rms[row];
  const float factor = block_sum(sum, scratch) * r * r / static_cast<float>(columns);
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    const int vector = each * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (vector >= vectors) break;
    float values[kLanes];
    unpack(kept_x[each], values);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane)
      values[lane] = r * (weighted[each][lane] - values[lane] * factor);
    store8(dx + row * columns + vector * kLanes, pack(values));
  }
}

// A warp has 256 columns; the warps of a block, and the blocks along y, share the rows.
constexpr int kWeightColumns = 32 * kLanes, kWeightWarps = 8, kRowsOfBlock = 128;
__global__ void __launch_bounds__(32 * kWeightWarps)
    backward_weight_kernel(std::int64_t rows, int columns, const Bf16* x, const float* inverse_rms,
                           const Bf16* dy, float* dweight) {
  __shared__ float sums[kWeightWarps][kWeightColumns];
  const int lane_of_warp = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int column = static_cast<int>(blockIdx.x) * kWeightColumns + lane_of_warp * kLanes;
  const std::int64_t first = std::int64_t{blockIdx.y} * kRowsOfBlock;
  const std::int64_t last = min(rows, first + kRowsOfBlock);
  float sum[kLanes] = {};
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t row = first + warp; row < last; row += kWeightWarps) {
      float values[kLanes], gradients[kLanes];
      unpack(load8(x + row * columns + column), values);
      unpack(load8(dy + row * columns + column), gradients);
      const float r = inverse_rms[row];
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += gradients[lane] * values[lane] * r;
    }
  }
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) sums[warp][lane_of_warp * kLanes + lane] = sum[lane];
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x);
  const int target = static_cast<int>(blockIdx.x) * kWeightColumns + own;
  if (target >= columns) return;
  float whole = 0;
#pragma unroll
  for (int each = 0; each < kWeightWarps; ++each) whole += sums[each][own];
  atomicAdd(dweight + target, whole);
}

unsigned blocks_for(std::int64_t rows, int each) {
  return static_cast<unsigned>(each == 1 ? rows : (rows + 1) / 2);
}

// Calls launch(vectors of a thread, threads of a block) for a row of that many columns.
template <class Launch>
void for_columns(std::int64_t columns, int multiple, Launch launch) {
  const auto vectors = static_cast<int>(columns / kLanes);
  require(columns % multiple == 0 && vectors <= 4 * kMostThreads,
          "rms_norm: columns must be a multiple of 8 (128 with codes) and at most 8192");
  const auto threads = [](int wanted) { return static_cast<unsigned>((wanted + 31) / 32 * 32); };
  if (vectors > kMostThreads) {
    launch(std::integral_constant<int, 4>(), threads((vectors + 3) / 4));
  } else {
    launch(std::integral_constant<int, 1>(), threads(vectors));
  }
}

}  // namespace

void rms_norm_forward(std::int64_t rows, std::int64_t columns, const Bf16* x, const float* weight,
                      float epsilon, Bf16* y, float* inverse_rms, cudaStream_t stream) {
  if (rows == 0) return;
  for_columns(columns, kLanes, [&](auto each, unsigned threads) {
    forward_kernel<each(), false><<<blocks_for(rows, each()), threads, 0, stream>>>(
        rows, static_cast<int>(columns), x, weight, epsilon, {y}, inverse_rms);
  });
  check_launch("rms_norm_forward");
}

void rms_norm_forward_fp8(std::int64_t rows, std::int64_t columns, const Bf16* x,
                          const float* weight, float epsilon, std::uint8_t* codes, float* scales,
                          float* inverse_rms, cudaStream_t stream) {
  if (rows == 0) return;
  for_columns(columns, kTile, [&](auto each, unsigned threads) {
    forward_kernel<each(), true><<<blocks_for(rows, each()), threads, 0, stream>>>(
        rows, static_cast<int>(columns), x, weight, epsilon,
        {nullptr, codes, scales, scale_stride(rows)}, inverse_rms);
  });
  check_launch("rms_norm_forward_fp8");
}

void rms_norm_backward_input(std::int64_t rows, std::int64_t columns, const Bf16* x,
                             const float* weight, const float* inverse_rms, const Bf16* dy,
                             Bf16* dx, cudaStream_t stream) {
  if (rows == 0) return;
  for_columns(columns, kLanes, [&](auto each, unsigned threads) {
    backward_input_kernel<each()><<<static_cast<unsigned>(rows), threads, 0, stream>>>(
        static_cast<int>(columns), x, weight, inverse_rms, dy, dx);
  });
  check_launch("rms_norm_backward_input");
}

void rms_norm_backward_weight(std::int64_t rows, std::int64_t columns, const Bf16* x,
                              const float* inverse_rms, const Bf16* dy, float* dweight,
                              cudaStream_t stream) {
  require(columns % kLanes == 0, "rms_norm: columns must be a multiple of 8");
  if (rows == 0) return;
  const dim3 blocks(static_cast<unsigned>((columns + kWeightColumns - 1) / kWeightColumns),
                    static_cast<unsigned>((rows + kRowsOfBlock - 1) / kRowsOfBlock));
  backward_weight_kernel<<<blocks, 32 * kWeightWarps, 0, stream>>>(rows, static_cast<int>(columns),
                                                                   x, inverse_rms, dy, dweight);
  check_launch("rms_norm_backward_weight");
}

}  // namespace orrery::cuda
