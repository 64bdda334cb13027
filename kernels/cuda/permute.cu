#include <algorithm>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/permute.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

// A block a token: it is read once, then written to each of its rows. A block a row would read it
// as often as it has rows, these lying far apart, out of memory where all tokens do not fit into
// L2. What is written is not read again soon.
constexpr int kExpandThreads = 512, kEachThread = 2;
__global__ void __launch_bounds__(kExpandThreads)
    expand_kernel(int slots, int vectors, const std::int32_t* row_of, const uint4* x, uint4* out) {
  const std::int64_t token = blockIdx.x;
  const uint4* from = x + token * vectors;
  const std::int32_t* rows = row_of + token * slots;
  for (int first = threadIdx.x; first < vectors;
       first += kEachThread * static_cast<int>(blockDim.x)) {
    uint4 values[kEachThread];
#pragma unroll
    for (int each = 0; each < kEachThread; ++each) {
      const int vector = first + each * static_cast<int>(blockDim.x);
      if (vector < vectors) values[each] = __ldcs(from + vector);
    }
    for (int slot = 0; slot < slots; ++slot) {
      const std::int64_t row = rows[slot];
      if (row < 0) continue;
#pragma unroll
      for (int each = 0; each < kEachThread; ++each) {
        const int vector = first + each * static_cast<int>(blockDim.x);
        if (vector < vectors) __stcs(out + row * vectors + vector, values[each]);
      }
    }
  }
}

// A block a token and part of its columns; the rows of a token are read side by side.
__global__ void __launch_bounds__(kThreads)
    reduce_kernel(int slots, int vectors, const std::int32_t* row_of, const Bf16* y, Bf16* out) {
  const std::int64_t token = blockIdx.x;
  for (int vector = threadIdx.x; vector < vectors; vector += kThreads) {
    float sum[kLanes] = {};
#pragma unroll 8
    for (int slot = 0; slot < slots; ++slot) {
      const std::int64_t row = row_of[token * slots + slot];
      if (row < 0) continue;
      float values[kLanes];
      unpack(load8(y + (row * vectors + vector) * kLanes), values);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += values[lane];
    }
    store8(out + (token * vectors + vector) * kLanes, pack(sum));
  }
}

}  // namespace

void expand_rows(std::int64_t tokens, std::int64_t slots, std::int64_t hidden,
                 const std::int32_t* row_of, const Bf16* x, Bf16* out, cudaStream_t stream) {
  require(hidden % kLanes == 0, "expand_rows: hidden must be a multiple of 8");
  if (tokens * slots * hidden == 0) return;
  const std::int64_t wanted = (hidden / kLanes + kEachThread - 1) / kEachThread;
  const auto threads =
      static_cast<unsigned>(std::min<std::int64_t>((wanted + 31) / 32 * 32, kExpandThreads));
  expand_kernel<<<static_cast<unsigned>(tokens), threads, 0, stream>>>(
      static_cast<int>(slots), static_cast<int>(hidden / kLanes), row_of,
      reinterpret_cast<const uint4*>(x), reinterpret_cast<uint4*>(out));
  check_launch("expand_rows");
}

void reduce_rows(std::int64_t tokens, std::int64_t slots, std::int64_t hidden,
                 const std::int32_t* row_of, const Bf16* y, Bf16* out, cudaStream_t stream) {
  require(hidden % kLanes == 0, "reduce_rows: hidden must be a multiple of 8");
  if (tokens == 0) return;
  reduce_kernel<<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
      static_cast<int>(slots), static_cast<int>(hidden / kLanes), row_of, y, out);
  check_launch("reduce_rows");
}

}  // namespace orrery::cuda
