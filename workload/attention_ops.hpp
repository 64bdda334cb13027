#pragma once
// The kernels of one attention block on one GPU, in execution order, forward, input gradient and
// weight gradient apart. Order and kernels of the MLA block follow DeepSeek-V3's public training
// profile (deepseek-ai/profile-data): FP8 linears with a cast and a scale transpose each, attention
// in BF16, attention output kept in E5M6, query and key/value up-projections recomputed in the
// backward (report, section 3.2.3).
#include "workload/steps.hpp"

namespace orrery {

// From the residual stream to the block's output, the pre-attention norm included.
Steps attention_forward(const Shard& shard);
// Recompute and everything down to the gradient of the residual stream.
Steps attention_input_gradient(const Shard& shard);
Steps attention_weight_gradient(const Shard& shard);

// Causal attention kernels alone: forward, and backward with its pre- and postprocessing.
Op attention_forward_kernel(const Shard& shard);
Op attention_backward_kernel(const Shard& shard);

}  // namespace orrery
