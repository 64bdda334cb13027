#pragma once
// Cross-entropy and its gradient in one kernel, the twin of kernels/cross_entropy.hpp for an
// undivided vocabulary: the logits [tokens][vocab] in BF16 are replaced by the gradient of the sum
// of losses times `scale`; loss [tokens] in float. targets [tokens], or -1 for a token that does
// not count. vocab is a multiple of 8.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

void cross_entropy(std::int64_t tokens, std::int64_t vocab, const std::int32_t* targets,
                   float scale, Bf16* logits, float* loss, Stream stream);

}  // namespace orrery::cuda
