#include <cmath>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/router.hpp"

namespace orrery::cuda {
namespace {

// A warp a token: lane l has experts 8 l to 8 l + 7, four lanes a group.
constexpr int kOfLane = kRouterExperts / 32, kLanesOfGroup = 32 / kRouterGroups;
constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr unsigned kAll = 0xffffffffu;

struct Best {
  float score;
  int index;
};

__device__ bool before(const Best& a, const Best& b) {
  return a.score > b.score || (a.score == b.score && a.index < b.index);
}

__device__ Best warp_best(Best best) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const Best other{__shfl_xor_sync(kAll, best.score, distance),
                     __shfl_xor_sync(kAll, best.index, distance)};
    if (before(other, best)) best = other;
  }
  return best;
}

// Whether this lane's group is among the best.
__device__ bool group_chosen(const float (&biased)[kOfLane], int lane, int groups_per_token) {
  float first = -INFINITY, second = -INFINITY;
#pragma unroll
  for (float value : biased) {
    second = fmaxf(second, fminf(first, value));
    first = fmaxf(first, value);
  }
#pragma unroll
  for (int distance = 1; distance < kLanesOfGroup; distance *= 2) {
    const float other_first = __shfl_xor_sync(kAll, first, distance);
    const float other_second = __shfl_xor_sync(kAll, second, distance);
    second = fmaxf(fminf(first, other_first), fmaxf(second, other_second));
    first = fmaxf(first, other_first);
  }
  const float own = first + second;
  const int group = lane / kLanesOfGroup;
  int better = 0;
#pragma unroll
  for (int other = 0; other < kRouterGroups; ++other) {
    const float score = __shfl_sync(kAll, own, other * kLanesOfGroup);
    better += score > own || (score == own && other < group);
  }
  return better < groups_per_token;
}

__global__ void __launch_bounds__(kThreads)
    router_kernel(std::int64_t tokens, int groups_per_token, int top_k, float scale,
                  const float* logits, const float* bias, float* scores, std::int32_t* choice,
                  float* weights, unsigned long long* counts) {
  __shared__ int block_counts[kRouterExperts];
  for (int expert = threadIdx.x; expert < kRouterExperts; expert += kThreads)
    block_counts[expert] = 0;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t token = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (token < tokens) {
    float score[kOfLane], biased[kOfLane];
    const float* from = logits + token * kRouterExperts + lane * kOfLane;
    *reinterpret_cast<float4*>(score) = *reinterpret_cast<const float4*>(from);
    *reinterpret_cast<float4*>(score + 4) = *reinterpret_cast<const float4*>(from + 4);
#pragma unroll
    for (int expert = 0; expert < kOfLane; ++expert) {
      score[expert] = 1 / (1 + expf(-score[expert]));
      biased[expert] = score[expert] + bias[lane * kOfLane + expert];
    }
    float* to = scores + token * kRouterExperts + lane * kOfLane;
    *reinterpret_cast<float4*>(to) = *reinterpret_cast<float4*>(score);
    *reinterpret_cast<float4*>(to + 4) = *reinterpret_cast<float4*>(score + 4);
    const bool open = group_chosen(biased, lane, groups_per_token);
    unsigned taken = open ? 0 : 0xffu;  // a bit an expert of this lane
    float sum = 0, own_weight = 0;
    int own_choice = 0;
    for (int slot = 0; slot < top_k; ++slot) {
      Best best{-INFINITY, kRouterExperts};
#pragma unroll
      for (int expert = 0; expert < kOfLane; ++expert) {
        const Best candidate{biased[expert], lane * kOfLane + expert};
        if ((taken >> expert & 1u) == 0 && before(candidate, best)) best = candidate;
      }
      best = warp_best(best);
      float chosen = 0;
#pragma unroll
      for (int expert = 0; expert < kOfLane; ++expert) {
        if (lane * kOfLane + expert != best.index) continue;
        taken |= 1u << expert;
        chosen = score[expert];
      }
      chosen = __shfl_sync(kAll, chosen, best.index / kOfLane);
      sum += chosen;
      if (lane == slot) {
        own_choice = best.index;
        own_weight = chosen;
      }
    }
    if (lane < top_k) {
      choice[token * top_k + lane] = own_choice;
      weights[token * top_k + lane] = scale * own_weight / sum;
      atomicAdd(block_counts + own_choice, 1);
    }
  }
  __syncthreads();
  for (int expert = threadIdx.x; expert < kRouterExperts; expert += kThreads) {
    if (block_counts[expert] > 0)
      atomicAdd(counts + expert, static_cast<unsigned long long>(block_counts[expert]));
  }
}

__global__ void update_bias_kernel(int experts, const unsigned long long* counts, float rate,
                                   float* bias) {
  unsigned long long sum = 0;
  for (int expert = 0; expert < experts; ++expert) sum += counts[expert];
  for (int expert = threadIdx.x; expert < experts; expert += blockDim.x) {
    const unsigned long long own = counts[expert] * static_cast<unsigned long long>(experts);
    if (own < sum) bias[expert] += rate;
    if (own > sum) bias[expert] -= rate;
  }
}

}  // namespace

void router(std::int64_t tokens, int groups_per_token, int top_k, float scale, const float* logits,
            const float* bias, float* scores, std::int32_t* choice, float* weights,
            unsigned long long* counts, cudaStream_t stream) {
  require(groups_per_token >= 1 && groups_per_token <= kRouterGroups && top_k >= 1 &&
              top_k <= kRouterMostChosen,
          "router: up to 8 groups and 8 experts a token");
  if (tokens == 0) return;
  router_kernel<<<static_cast<unsigned>((tokens + kWarps - 1) / kWarps), kThreads, 0, stream>>>(
      tokens, groups_per_token, top_k, scale, logits, bias, scores, choice, weights, counts);
  check_launch("router");
}

void router_update_bias(int experts, const unsigned long long* counts, float rate, float* bias,
                        cudaStream_t stream) {
  update_bias_kernel<<<1, 256, 0, stream>>>(experts, counts, rate, bias);
  check_launch("router_update_bias");
}

}  // namespace orrery::cuda
