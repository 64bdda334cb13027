#include <cmath>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/flat_launch.cuh"
#include "kernels/cuda/token_router.hpp"

namespace orrery::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    scores_kernel(std::int64_t n, const float* logits, float* scores) {
  const std::int64_t at = thread_number();
  if (at < n) scores[at] = 1 / (1 + expf(-logits[at]));
}

// Marks the `wanted` largest of so many values, the lower index first where they are equal.
template <class Value, class Mark>
__device__ void choose(std::int64_t count, std::int64_t wanted, Value value, Mark mark) {
  unsigned taken[kMostExperts / 32] = {};
  for (std::int64_t slot = 0; slot < wanted; ++slot) {
    std::int64_t best = -1;
    float most = 0;
    for (std::int64_t at = 0; at < count; ++at) {
      if ((taken[at / 32] >> (at % 32) & 1u) != 0) continue;
      const float own = value(at);
      if (best >= 0 && !(own > most)) continue;
      best = at;
      most = own;
    }
    taken[best / 32] |= 1u << (best % 32);
    mark(slot, best);
  }
}

__global__ void __launch_bounds__(kThreads)
    groups_kernel(kernels::RouterShape s, const float* scores, const float* bias,
                  std::int32_t* group_chosen) {
  const std::int64_t token = thread_number();
  if (token >= s.tokens) return;
  const float* own = scores + token * s.experts;
  const std::int64_t size = s.experts / s.groups;
  std::int32_t* chosen = group_chosen + token * s.groups;
  const auto score = [&](std::int64_t group) {
    float first = -INFINITY, second = -INFINITY;
    for (std::int64_t expert = group * size; expert < (group + 1) * size; ++expert) {
      const float value = own[expert] + bias[expert];
      second = fmaxf(second, fminf(first, value));
      first = fmaxf(first, value);
    }
    return size > 1 ? first + second : first;
  };
  for (std::int64_t group = 0; group < s.groups; ++group) chosen[group] = 0;
  choose(s.groups, s.groups_per_token, score,
         [&](std::int64_t, std::int64_t group) { chosen[group] = 1; });
}

__global__ void __launch_bounds__(kThreads)
    experts_kernel(kernels::RouterShape s, const float* scores, const float* bias,
                   const std::int32_t* group_chosen, std::int32_t* choice) {
  const std::int64_t token = thread_number();
  if (token >= s.tokens) return;
  const std::int64_t size = s.experts / s.groups;
  const auto score = [&](std::int64_t expert) {
    return group_chosen[token * s.groups + expert / size] == 0
               ? -INFINITY
               : scores[token * s.experts + expert] + bias[expert];
  };
  choose(s.experts, s.top_k, score, [&](std::int64_t slot, std::int64_t expert) {
    choice[token * s.top_k + slot] = static_cast<std::int32_t>(expert);
  });
}

__global__ void __launch_bounds__(kThreads)
    weights_kernel(kernels::RouterShape s, const float* scores, const std::int32_t* choice,
                   float scale, float* weights) {
  const std::int64_t token = thread_number();
  if (token >= s.tokens) return;
  const float* own = scores + token * s.experts;
  const std::int32_t* chosen = choice + token * s.top_k;
  float sum = 0;
  for (std::int64_t slot = 0; slot < s.top_k; ++slot) sum += own[chosen[slot]];
  for (std::int64_t slot = 0; slot < s.top_k; ++slot)
    weights[token * s.top_k + slot] = scale * own[chosen[slot]] / sum;
}

__global__ void __launch_bounds__(kThreads)
    router_backward_kernel(kernels::RouterShape s, const float* scores, const std::int32_t* choice,
                           float scale, const float* dweights, const float* fractions,
                           float* dlogits) {
  const std::int64_t token = thread_number();
  if (token >= s.tokens) return;
  const float* own = scores + token * s.experts;
  const std::int32_t* chosen = choice + token * s.top_k;
  const float* dw = dweights + token * s.top_k;
  float* ds = dlogits + token * s.experts;
  for (std::int64_t expert = 0; expert < s.experts; ++expert) ds[expert] = 0;
  if (fractions != nullptr) {
    const float* f = fractions + token * s.experts;
    float dot = 0, sum = 0;
    for (std::int64_t expert = 0; expert < s.experts; ++expert) {
      dot += f[expert] * own[expert];
      sum += own[expert];
    }
    for (std::int64_t expert = 0; expert < s.experts; ++expert)
      ds[expert] = (f[expert] - dot / sum) / sum;
  }
  float sum = 0, dot = 0;
  for (std::int64_t slot = 0; slot < s.top_k; ++slot) {
    sum += own[chosen[slot]];
    dot += dw[slot] * own[chosen[slot]];
  }
  for (std::int64_t slot = 0; slot < s.top_k; ++slot)
    ds[chosen[slot]] += scale / sum * (dw[slot] - dot / sum);
  for (std::int64_t expert = 0; expert < s.experts; ++expert)
    ds[expert] *= own[expert] * (1 - own[expert]);
}

}  // namespace

void router_scores(const kernels::RouterShape& s, const float* logits, float* scores,
                   cudaStream_t stream) {
  const std::int64_t n = s.tokens * s.experts;
  if (n == 0) return;
  scores_kernel<<<blocks_of(n), kThreads, 0, stream>>>(n, logits, scores);
  check_launch("router_scores");
}

void router_choose_groups(const kernels::RouterShape& s, const float* scores, const float* bias,
                          std::int32_t* group_chosen, cudaStream_t stream) {
  require(s.groups <= kMostExperts, "router: at most 256 groups");
  if (s.tokens == 0) return;
  groups_kernel<<<blocks_of(s.tokens), kThreads, 0, stream>>>(s, scores, bias, group_chosen);
  check_launch("router_choose_groups");
}

void router_choose_experts(const kernels::RouterShape& s, const float* scores, const float* bias,
                           const std::int32_t* group_chosen, std::int32_t* choice,
                           cudaStream_t stream) {
  require(s.experts <= kMostExperts, "router: at most 256 experts");
  if (s.tokens == 0) return;
  experts_kernel<<<blocks_of(s.tokens), kThreads, 0, stream>>>(s, scores, bias, group_chosen,
                                                               choice);
  check_launch("router_choose_experts");
}

void router_weights(const kernels::RouterShape& s, const float* scores, const std::int32_t* choice,
                    float scale, float* weights, cudaStream_t stream) {
  if (s.tokens == 0) return;
  weights_kernel<<<blocks_of(s.tokens), kThreads, 0, stream>>>(s, scores, choice, scale, weights);
  check_launch("router_weights");
}

void router_backward(const kernels::RouterShape& s, const float* scores, const std::int32_t* choice,
                     float scale, const float* dweights, const float* fractions, float* dlogits,
                     cudaStream_t stream) {
  if (s.tokens == 0) return;
  router_backward_kernel<<<blocks_of(s.tokens), kThreads, 0, stream>>>(
      s, scores, choice, scale, dweights, fractions, dlogits);
  check_launch("router_backward");
}

}  // namespace orrery::cuda
