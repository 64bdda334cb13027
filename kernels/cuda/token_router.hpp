#pragma once
// The router for any number of experts, its steps apart and a thread a token: what a model needs
// that is not DeepSeek-V3 (kernels/cuda/router.hpp). All in float.
#include <cstdint>

#include "kernels/cuda/types.hpp"
#include "kernels/router.hpp"

namespace orrery::cuda {

// kernels/router.hpp, for any number of experts up to 256; ties go to the lower index.
inline constexpr std::int64_t kMostExperts = 256;
void router_scores(const kernels::RouterShape& shape, const float* logits, float* scores,
                   Stream stream);
void router_choose_groups(const kernels::RouterShape& shape, const float* scores, const float* bias,
                          std::int32_t* group_chosen, Stream stream);
void router_choose_experts(const kernels::RouterShape& shape, const float* scores,
                           const float* bias, const std::int32_t* group_chosen,
                           std::int32_t* choice, Stream stream);
void router_weights(const kernels::RouterShape& shape, const float* scores,
                    const std::int32_t* choice, float scale, float* weights, Stream stream);
// fractions [tokens][experts]: what the balance loss adds to a score's gradient before it is
// centred, loss_scale alpha f_i / length; null without the loss.
void router_backward(const kernels::RouterShape& shape, const float* scores,
                     const std::int32_t* choice, float scale, const float* dweights,
                     const float* fractions, float* dlogits, Stream stream);

}  // namespace orrery::cuda
