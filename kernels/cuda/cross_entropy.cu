#include <cmath>

#include "kernels/cuda/cross_entropy.hpp"
#include "kernels/cuda/device_math.cuh"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 1024;

struct Statistics {
  float max, sum;  // of exp(logit - max)
};

__device__ Statistics merged(Statistics a, Statistics b) {
  const float max = fmaxf(a.max, b.max);
  if (max == -INFINITY) return {max, 0};
  return {max, a.sum * __expf(a.max - max) + b.sum * __expf(b.max - max)};
}

__device__ Statistics warp_merged(Statistics own) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    own = merged(own, {__shfl_xor_sync(0xffffffffu, own.max, distance),
                       __shfl_xor_sync(0xffffffffu, own.sum, distance)});
  }
  return own;
}

// A block a token: its logits are read twice, since a row of 129280 (258 KB) fits into no SM.
__global__ void __launch_bounds__(kThreads)
    cross_entropy_kernel(int vectors, const std::int32_t* targets, float scale, Bf16* logits,
                         float* loss) {
  __shared__ Statistics of_warp[kThreads / 32];
  __shared__ float target_logit;
  const std::int64_t token = blockIdx.x;
  Bf16* own = logits + token * vectors * kLanes;
  const int target = targets[token];
  if (threadIdx.x == 0 && target >= 0) target_logit = __bfloat162float(own[target]);
  Statistics statistics{-INFINITY, 0};
  for (int vector = threadIdx.x; vector < vectors; vector += kThreads) {
    float values[kLanes];
    unpack(load8(own + vector * kLanes), values);
    float max = statistics.max;
#pragma unroll
    for (float value : values) max = fmaxf(max, value);
    if (max == -INFINITY) continue;
    float sum = statistics.sum * __expf(statistics.max - max);
#pragma unroll
    for (float value : values) sum += __expf(value - max);
    statistics = {max, sum};
  }
  statistics = warp_merged(statistics);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = statistics;
  __syncthreads();
  statistics = warp_merged(of_warp[threadIdx.x % 32]);
  if (threadIdx.x == 0)
    loss[token] = target < 0 ? 0 : statistics.max + logf(statistics.sum) - target_logit;
  const float factor = target < 0 ? 0 : scale / statistics.sum;
  for (int vector = threadIdx.x; vector < vectors; vector += kThreads) {
    float values[kLanes];
    unpack(load8(own + vector * kLanes), values);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      values[lane] = factor * __expf(values[lane] - statistics.max);
      if (vector * kLanes + lane == target) values[lane] -= scale;
    }
    store8(own + vector * kLanes, pack(values));
  }
}

}  // namespace

void cross_entropy(std::int64_t tokens, std::int64_t vocab, const std::int32_t* targets,
                   float scale, Bf16* logits, float* loss, cudaStream_t stream) {
  require(vocab % kLanes == 0, "cross_entropy: the vocabulary must be a multiple of 8");
  if (tokens == 0) return;
  cross_entropy_kernel<<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
      static_cast<int>(vocab / kLanes), targets, scale, logits, loss);
  check_launch("cross_entropy");
}

}  // namespace orrery::cuda
