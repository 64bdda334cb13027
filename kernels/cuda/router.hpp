#pragma once
// The gate of DeepSeek-V3 in one kernel, the twin of kernels/router.hpp: scores, group-limited
// choice with the bias, weights, and the counts for the bias update. Ties go to the lower index.
//
//   logits [tokens][256] in float    bias [256]    scores [tokens][256]
//   choice, weights [tokens][top_k]    counts [256], added to
//
// For 256 experts in 8 groups; groups_per_token and top_k at most 8.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

inline constexpr int kRouterExperts = 256, kRouterGroups = 8, kRouterMostChosen = 8;

void router(std::int64_t tokens, int groups_per_token, int top_k, float scale, const float* logits,
            const float* bias, float* scores, std::int32_t* choice, float* weights,
            unsigned long long* counts, Stream stream);

// bias += rate x sign(mean of counts - counts), as the host's router_update_bias.
void router_update_bias(int experts, const unsigned long long* counts, float rate, float* bias,
                        Stream stream);

}  // namespace orrery::cuda
