#include <algorithm>
#include <cmath>

#include "kernels/cuda/adamw_math.cuh"
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/end_kernels.hpp"
#include "kernels/cuda/flat_launch.cuh"

namespace orrery::cuda {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// Ends of the model

__global__ void __launch_bounds__(kThreads)
    lookup_kernel(kernels::EmbeddingShape s, const std::int32_t* ids, const float* table,
                  Bf16* out) {
  const std::int64_t at = thread_number();
  if (at >= s.tokens * s.columns) return;
  const std::int64_t row = ids[at / s.columns] - s.first;
  const bool here = row >= 0 && row < s.rows;
  out[at] = __float2bfloat16(here ? table[row * s.columns + at % s.columns] : 0.0f);
}

__global__ void __launch_bounds__(kThreads)
    table_kernel(kernels::EmbeddingShape s, const std::int32_t* ids, const Bf16* dout,
                 float* dtable) {
  const std::int64_t at = thread_number();
  if (at >= s.tokens * s.columns) return;
  const std::int64_t row = ids[at / s.columns] - s.first;
  if (row < 0 || row >= s.rows) return;
  atomicAdd(dtable + row * s.columns + at % s.columns, __bfloat162float(dout[at]));
}

// The largest of all threads of the block, in all of them; `scratch` as in block_sum.
__device__ float block_max(float value, float* scratch) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[threadIdx.x % kWarps];
#pragma unroll
  for (int distance = kWarps / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

__global__ void __launch_bounds__(kThreads)
    statistics_kernel(kernels::CrossEntropyShape s, const Bf16* logits, const std::int32_t* targets,
                      float* max, float* sum_exp, float* target_logit) {
  __shared__ float largest[32], sums[32];
  const std::int64_t token = blockIdx.x;
  const Bf16* own = logits + token * s.vocab;
  float most = -INFINITY;
  for (std::int64_t id = threadIdx.x; id < s.vocab; id += kThreads)
    most = fmaxf(most, __bfloat162float(own[id]));
  most = block_max(most, largest);
  const float reference = most == -INFINITY ? 0 : most;
  float sum = 0;
  for (std::int64_t id = threadIdx.x; id < s.vocab; id += kThreads)
    sum += expf(__bfloat162float(own[id]) - reference);
  sum = block_sum(sum, sums);
  if (threadIdx.x != 0) return;
  const std::int64_t target = targets[token] - s.first;
  const bool here = targets[token] >= 0 && target >= 0 && target < s.vocab;
  max[token] = most;
  sum_exp[token] = sum;
  target_logit[token] = here ? __bfloat162float(own[target]) : 0;
}

__global__ void __launch_bounds__(kThreads)
    gradient_kernel(kernels::CrossEntropyShape s, const std::int32_t* targets, const float* max,
                    const float* sum_exp, float scale, Bf16* logits) {
  const std::int64_t at = thread_number();
  if (at >= s.tokens * s.vocab) return;
  const std::int64_t token = at / s.vocab, id = at % s.vocab;
  float value = 0;
  if (targets[token] >= 0) {
    value = expf(__bfloat162float(logits[at]) - max[token]) * (scale / sum_exp[token]);
    if (targets[token] - s.first == id) value -= scale;
  }
  logits[at] = __float2bfloat16(value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Optimizer

__global__ void __launch_bounds__(kThreads)
    adamw_kernel(std::int64_t n, AdamwFactors f, const float* gradient, float* parameter,
                 float* first_moment, float* second_moment) {
  const std::int64_t at = thread_number();
  if (at >= n) return;
  adamw_update(f, gradient[at], parameter[at], first_moment[at], second_moment[at]);
}

__global__ void __launch_bounds__(kThreads)
    squares_kernel(std::int64_t n, const float* x, double* sum) {
  double own = 0;
  for (std::int64_t at = thread_number(); at < n; at += std::int64_t{gridDim.x} * kThreads)
    own += static_cast<double>(x[at]) * x[at];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    own += __shfl_xor_sync(0xffffffffu, own, distance);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, own);
}

}  // namespace

void embedding_lookup(const kernels::EmbeddingShape& s, const std::int32_t* ids, const float* table,
                      Bf16* out, cudaStream_t stream) {
  const std::int64_t n = s.tokens * s.columns;
  if (n == 0) return;
  lookup_kernel<<<blocks_of(n), kThreads, 0, stream>>>(s, ids, table, out);
  check_launch("embedding_lookup");
}

void embedding_gradient(const kernels::EmbeddingShape& s, const std::int32_t* ids, const Bf16* dout,
                        float* dtable, cudaStream_t stream) {
  const std::int64_t n = s.tokens * s.columns;
  if (n == 0) return;
  table_kernel<<<blocks_of(n), kThreads, 0, stream>>>(s, ids, dout, dtable);
  check_launch("embedding_gradient");
}

void cross_entropy_statistics(const kernels::CrossEntropyShape& s, const Bf16* logits,
                              const std::int32_t* targets, float* max, float* sum_exp,
                              float* target_logit, cudaStream_t stream) {
  if (s.tokens == 0) return;
  statistics_kernel<<<static_cast<unsigned>(s.tokens), kThreads, 0, stream>>>(
      s, logits, targets, max, sum_exp, target_logit);
  check_launch("cross_entropy_statistics");
}

void cross_entropy_gradient(const kernels::CrossEntropyShape& s, const std::int32_t* targets,
                            const float* max, const float* sum_exp, float scale, Bf16* logits,
                            cudaStream_t stream) {
  const std::int64_t n = s.tokens * s.vocab;
  if (n == 0) return;
  gradient_kernel<<<blocks_of(n), kThreads, 0, stream>>>(s, targets, max, sum_exp, scale, logits);
  check_launch("cross_entropy_gradient");
}

void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient, float* parameter,
           float* first_moment, float* second_moment, cudaStream_t stream) {
  if (n == 0) return;
  adamw_kernel<<<blocks_of(n), kThreads, 0, stream>>>(n, adamw_factors(step), gradient, parameter,
                                                      first_moment, second_moment);
  check_launch("adamw");
}

void squared_sum(std::int64_t n, const float* x, double* sum, cudaStream_t stream) {
  constexpr unsigned kMostBlocks = 1024;
  if (n == 0) return;
  squares_kernel<<<std::min(blocks_of(n), kMostBlocks), kThreads, 0, stream>>>(n, x, sum);
  check_launch("squared_sum");
}

}  // namespace orrery::cuda
